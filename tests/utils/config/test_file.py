from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from utils.config.file import COMMAND_LINE, difference, load_config, stored_config
from utils.config.schema import Common
from utils.errors import CheckpointError, ConfigError

ORIGINAL = Path("exps/douyin_exps/tsn_v5_mobilenet") / (
    "colorjitter_random_erasing_labelsmooth_0.1_nowd_coslr_bn16_gpu32_lr0.04_epoch100/config.yaml"
)
MINIMAL = """\
common:
    model:
        type: tsn
        backbone: resnet18
        num_class: 4
    lr_scheduler:
        base_lr: 0.1
        max_iter: 10
"""
# a short text of 2**40 values
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)) + "common: *a39\n"


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(MINIMAL)
    return path


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_original_projects_config_loads_with_its_values() -> None:
    common = load_config(ORIGINAL).common
    assert (common.model.type, common.model.backbone, common.model.num_class) == ("tsn", "mobilenetv2", 152)
    assert common.model.model_extra == {"num_segments": 3}
    assert dict(common.model.kwargs) == {"bn_group_size": 16, "bn_sync_stats": True, "t": 6}
    assert common.model.kwargs.t == 6  # an EasyDict
    assert common.augmentation.colorjitter == [0.2, 0.2, 0.2, 0.1]
    assert common.lr_scheduler.max_iter == 15010 and common.lr_scheduler.warmup_lr == 0.04
    assert common.batch_size == 32 and common.workers == 3 and common.no_wd and common.nesterov
    assert common.seed == 0 and common.validate_every(7) == 250


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("common.lr_scheduler.warm_lr", "warmup_lr"),
        ("common.batchsize", "batch_size"),
        ("common.augmentation.colourjitter", "colorjitter"),
    ],
)
def test_an_unknown_key_names_its_path_and_the_key_that_was_meant(minimal: Path, key: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}: unknown key; did you mean `{nearest}`\?"):
        load_config(minimal, [f"{key}=1"])


def test_a_misspelt_required_key_is_named(minimal: Path) -> None:
    text = minimal.read_text()
    assert "backbone:" in text
    minimal.write_text(text.replace("backbone:", "backbon:"))
    with pytest.raises(
        ConfigError, match=r"common.model.backbone: this key is required .*; is `backbon` a misspelling of it"
    ):
        load_config(minimal)


def test_an_error_names_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "config.yaml", MINIMAL + "    batch_size: many\n")
    with pytest.raises(ConfigError, match=rf"^{path}:9: common.batch_size: should be a valid integer, but is 'many'$"):
        load_config(path)


def test_all_mistakes_are_named_at_once(minimal: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(minimal, ["common.workers=-1", "common.momentum=2.0"])
    assert "common.workers" in str(error.value) and "common.momentum" in str(error.value)


@pytest.mark.whole
@pytest.mark.alike
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("common: [", r"config.yaml:\d+: not valid YAML"),
        (LAUGHS, r"config.yaml:1: not valid YAML: its aliases \(\*name\) stand for too many values"),
        ("common: &all [*all]", r"its aliases \(\*name\) stand for too many values"),
        ("common: " + "[" * 3000, r"config.yaml: not valid YAML: it is nested too deeply"),
        ("common: {seed: " + "9" * 5000 + "}", r"not valid YAML: a number of 5000 digits"),
        ("common:\n    seed: 1\n    seed: 2\n", r"config.yaml:3: `common.seed` is given twice, first on line 2"),
        ("model: {}\n", "the root key must be `common:`"),
        ("", "the root key must be `common:`"),
        ("5\n", "the root key must be `common:`"),
        ("common:\n    seed: \0\n", r"config.yaml:2: not valid YAML: special characters are not allowed \(#x00\)"),
        (MINIMAL + "other: 1\n", r"config.yaml:9: other: unknown key outside `common:`; move it below"),
        (MINIMAL + "~: 1\n5: 2\n", r"config.yaml:10: 5: unknown key outside `common:`; move it below"),
        (MINIMAL + "~: 1\n", r"config.yaml:9: None: unknown key outside `common:`; move it below"),
        (MINIMAL + "true: 1\n", r"config.yaml:9: True: unknown key outside `common:`; move it below"),
        (MINIMAL + "    data:\n        0x10: 2\n", r"config.yaml:10: common.data.16: a key should be a text"),
        (MINIMAL + "    data: {5: 2}\n", r"config.yaml:9: common.data.5: a key should be a text, but YAML reads 5"),
        (
            MINIMAL + "    kwargs: {~: 2}\n",
            r"config.yaml:9: common.kwargs.None: a key should be a text, but YAML reads None",
        ),
    ],
)
def test_a_malformed_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path / "config.yaml", text))


def test_a_missing_file_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such config file; give --config"):
        load_config(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match=r"this is a folder; give .*/config.yaml"):
        load_config(tmp_path)


def test_an_override_has_the_files_dotted_path_and_yaml_value(minimal: Path) -> None:
    config = load_config(minimal, ["common.batch_size=8", "common.model.kwargs.t=4", "common.augmentation.mix_up=1e-1"])
    assert config.common.batch_size == 8 and config.common.model.kwargs.t == 4
    assert config.common.augmentation.mix_up == pytest.approx(0.1)
    assert config.lines["common.batch_size"] == COMMAND_LINE
    origins = {key: origin for key, _, origin in config.explain()}
    assert origins["common.batch_size"] == "command line"
    assert origins["common.model.type"] == "config.yaml:3" and origins["common.workers"] == "default"


def test_none_as_docs_config_md_writes_it_is_no_text(tmp_path: Path) -> None:
    text = MINIMAL + "    val_source: None\n    ckpt_freq: None\n    data: {feature_cache: None, class_names: 'None'}\n"
    common = load_config(write(tmp_path / "config.yaml", text), ["common.train_source=None"]).common
    assert (common.val_source, common.ckpt_freq, common.data.feature_cache, common.train_source) == (None,) * 4
    assert common.data.class_names == "None"  # quotes make it a text


def test_values_that_an_override_of_their_section_replaced_or_gave_are_the_command_lines(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(MINIMAL + "    teacher: {scores: exps/a, temperature: 2.0}\n")
    for value, weight in (("{}", "default"), ("{scores: exps/b, weight: 0.5}", "command line")):
        rows = {key: row for key, *row in load_config(path, [f"common.teacher={value}"]).explain()}
        assert rows["common.teacher.temperature"] == [1.0, "command line"]
        assert rows["common.teacher.weight"][1] == weight and rows["common.teacher.loss"][1] == "default"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("common.no_wd=never", "no_wd: should be True or False or 'norm', but is 'never'"),
        (
            "common.augmentation.colorjitter=[1, 2]",
            r"colorjitter: should be a list of at least 4 values, but is \[1, 2\]",
        ),
        ("common.augmentation.colorjitter=[1, 1, 1, 1, 1]", "colorjitter: should be a list of at most 4 values"),
        ("common.data.store=disk", "data.store: should be a mapping, but is 'disk'"),
        ("common.watch=False", "watch: should be a mapping, but is False"),
        (
            "common.augmentation.input_size=[0,4]",
            r"input_size: each value of a list should be greater than 0, but \[0, 4\] contains 0",
        ),
        (
            "common.test.input_size=[9,a]",
            r"input_size: each value of a list should be a valid integer, but \[9, 'a'\] contains 'a'",
        ),
    ],
)
def test_the_message_about_a_wrong_value_names_all_accepted_kinds(minimal: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"common\.\S*{message}"):
        load_config(minimal, [override])


def yaml_words(section: type[BaseModel] = Common, path: str = "common") -> Iterator[tuple[str, str]]:
    """Yields (dotted key, value) for every text among the accepted values that YAML 1.1 reads as True or False."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from yaml_words(field.annotation, f"{path}.{name}")
            continue
        for value in literals(field.annotation):
            if isinstance(value, str) and isinstance(yaml.safe_load(value), bool):
                yield f"{path}.{name}", value


def literals(kind: Any) -> Iterator[Any]:
    for argument in get_args(kind):
        yield from [argument] if get_origin(kind) is Literal else literals(argument)


def test_amp_has_a_value_that_yaml_reads_as_false() -> None:
    assert ("common.amp", "off") in yaml_words()
    assert [*literals(list[bool | Literal["on", "x"]] | None)] == ["on", "x"]


@pytest.mark.parametrize(("key", "word"), [*yaml_words()])
def test_an_accepted_value_may_be_written_without_quotes(minimal: Path, key: str, word: str) -> None:
    section, _, name = key.removeprefix("common.").rpartition(".")
    assert not section, "this test writes keys directly below `common:`; teach it sections"
    for config in (
        load_config(minimal, [f"{key}={word}"]),
        load_config(write(minimal, MINIMAL + f"    {name}: {word}\n")),
        load_config(write(minimal, MINIMAL + f"    {name}: '{word}'\n")),
    ):
        assert getattr(config.common, name) == word


@pytest.mark.parametrize("text", ["batch_size=8", "common.batch_size", "common=1", "common.model.type.x=1"])
def test_a_malformed_override_is_an_error(minimal: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="override"):
        load_config(minimal, [text])


def test_a_constructors_error_gets_the_line_of_its_key(minimal: Path) -> None:
    config = load_config(minimal)
    with pytest.raises(ConfigError, match=rf"{config.path}:4: common.model.backbone: unknown"), config.located():
        raise ConfigError("common.model.backbone: unknown")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("common.lr_scheduler.epochs=3", "give either max_iter or epochs"),
        ("common.lr_scheduler.warmup_steps=3", "a warm-up needs warmup_lr"),
        ("common.lr_scheduler.type=STEP", "type STEP needs lr_steps"),
        ("common.lr_scheduler={base_lr: 1, max_iter: 9, lr_steps: [5, 2], type: STEP}", "must be in ascending order"),
        ("common.test={num_crops: 3}", None),
        ("common.fc_lr5=true", "set policy: True"),
    ],
)
def test_impossible_combinations_are_refused(minimal: Path, override: str, message: str | None) -> None:
    if message is None:
        load_config(minimal, [override])
        return
    with pytest.raises(ConfigError, match=message):
        load_config(minimal, [override])


def test_val_dense_means_ten_crops_and_refuses_another_number(minimal: Path) -> None:
    assert load_config(minimal, ["common.val_dense=true"]).common.crops == 10
    with pytest.raises(ConfigError, match="val_dense means ten crops"):
        load_config(minimal, ["common.val_dense=true", "common.test.num_crops=3"])


def test_difference_names_changed_added_and_removed_values() -> None:
    old = {"common": {"seed": 0, "model": {"type": "tsn"}, "gone": 1}}
    new = {"common": {"seed": 0, "model": {"type": "tsm"}, "new": [1]}}
    assert difference(old, new) == [
        "common.gone: 1 -> (absent)",
        "common.model.type: tsn -> tsm",
        "common.new: (absent) -> [1]",
    ]


def test_val_epochs_replaces_val_freq(minimal: Path) -> None:
    common = load_config(minimal, ["common.val_epochs=0.5"]).common
    assert [common.validate_every(steps) for steps in (783.4, 1.0)] == [392, 1]
    assert load_config(minimal, ["common.val_freq=7"]).common.validate_every(783.4) == 7
    with pytest.raises(ConfigError, match="give either val_freq or val_epochs"):
        load_config(minimal, ["common.val_freq=7", "common.val_epochs=1"])


def test_configs_of_other_projects_are_recognised(tmp_path: Path):
    (tmp_path / "tsn.py").write_text("model = dict(type='Recognizer2D')\n")
    with pytest.raises(ConfigError, match=r"tsn\.py: configs are YAML files; docs/from_mmaction2\.md"):
        load_config(tmp_path / "tsn.py")
    (tmp_path / "slow.yaml").write_text("TRAIN:\n  ENABLE: True\nDATA:\n  NUM_FRAMES: 8\n")
    with pytest.raises(ConfigError, match=r"PySlowFast, whose keys docs/from_pyslowfast\.md translates"):
        load_config(tmp_path / "slow.yaml")


WORDS = [form(word) for word in ("on", "off", "yes", "no") for form in (str.lower, str.capitalize, str.upper)]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_true_or_false_where_a_key_takes_those_and_a_word_elsewhere(minimal: Path, word: str) -> None:
    truth = word.lower() in ("on", "yes")
    keys = {
        "nesterov": word,
        "no_wd": word,
        "data": f"{{sampling: {word}}}",
        "freeze": f"[{word}]",
        "lr_by_name": f"{{{word}: 2.0}}",
        "augmentation": f"{{flip_labels: {{{word}: x, x: {word}}}}}",
    }
    text = MINIMAL.replace("num_class: 4", f"num_class: 4\n        pretrained: {word}")
    file = write(minimal.with_name("file.yaml"), text + "".join(f"    {key}: {value}\n" for key, value in keys.items()))
    overrides = [f"common.{key}={value}" for key, value in keys.items()]
    for config in (load_config(file), load_config(minimal, [*overrides, f"common.model.pretrained={word}"])):
        common = config.common
        assert common.nesterov is truth and common.no_wd is truth and common.model.pretrained is truth
        assert common.data.sampling == word and common.freeze == [word] and common.lr_by_name == {word: 2.0}
        assert common.augmentation.flip_labels == {word: "x", "x": word}
    if not truth:
        common = load_config(minimal, [f"common.ema={word}", f"common.augmentation.flip={word}"]).common
        assert (common.ema, common.augmentation.flip) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", 10), ("0o17", 15), ("0x1F", 31), ("+8", 8), ("1e1", None), ("1_0", None), ("1:30", None)],
)
def test_a_whole_number_is_what_it_looks_like(minimal: Path, text: str, value: int | None) -> None:
    if value is None:
        with pytest.raises(ConfigError, match=r"common.batch_size: should be a valid integer, but is"):
            load_config(minimal, [f"common.batch_size={text}"])
    else:
        assert load_config(minimal, [f"common.batch_size={text}"]).common.batch_size == value


@pytest.mark.parametrize("key", ["train_root", "val_source", "model.kwargs.weights", "notes"])
def test_a_text_with_nul_passes_nowhere(minimal: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"common.{key}: contains the character NUL, which no name has"):
        load_config(minimal, [f'common.{key}="a\\0b"'])


@pytest.mark.parametrize("text", ["1e-4", "1.0e-4", "1E-4", "0.0001", ".0001", "+1e-4"])
def test_a_number_may_be_written_in_every_way(minimal: Path, text: str) -> None:
    assert load_config(minimal, [f"common.weight_decay={text}"]).common.weight_decay == 1e-4


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1e300", "1e999", "-1e300"])
@pytest.mark.parametrize(
    "key",
    [
        "weight_decay",
        "model.kwargs.scale",
        "model.dropout",
        "augmentation.mean",
        "lr_scheduler.base_lr",
        "lr_by_name.head",
    ],
)
def test_a_number_that_is_not_finite_passes_nowhere(minimal: Path, key: str, value: str) -> None:
    text = f"[0.5, {value}, 0.5]" if key.endswith("mean") else value
    with pytest.raises(ConfigError, match=rf"common.{key}: should be a number up to 1e\+09, but is"):
        load_config(minimal, [f"common.{key}={text}"])
    section, _, name = key.rpartition(".")
    for part in reversed(section.split(".") if section else []):
        name, text = part, f"{{{name}: {text}}}"
    raw = yaml.safe_load(f"{name}: {text}".replace("1e300", "1.0e+300").replace("1e999", ".inf"))
    stored = {"common": yaml.safe_load(MINIMAL)["common"] | raw}
    with pytest.raises(CheckpointError, match="should be a number up to"):
        stored_config(stored, Path("x.pth"))


@pytest.mark.parametrize(
    "key", ["batch_size", "model.num_segments", "model.num_class", "val_freq", "model.kwargs.depth"]
)
@pytest.mark.parametrize("value", [2**31, 2**63, 10**30, -(10**30)])
def test_a_whole_number_that_would_overflow_is_refused(minimal: Path, key: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"common.{key}: should be a whole number up to 2147483647, but is"):
        load_config(minimal, [f"common.{key}={value}"])


def test_a_seed_may_have_64_bits(minimal: Path) -> None:
    assert load_config(minimal, [f"common.seed={2**64 - 1}"]).common.seed == 2**64 - 1
    with pytest.raises(ConfigError, match=r"common.seed: should be a whole number up to 18446744073709551615"):
        load_config(minimal, [f"common.seed={2**64}"])


def test_a_number_of_thousands_of_digits_is_one_line(minimal: Path) -> None:
    with pytest.raises(ConfigError, match=r"override .*: the value is not valid YAML: a number of 5000 digits"):
        load_config(minimal, ["common.seed=" + "9" * 5000])


@pytest.mark.parametrize(
    ("processes", "batch_size", "accumulate"), [(1, 8, 4), (2, 8, 2), (4, 8, 1), (8, 4, 1), (16, 2, 1), (32, 1, 1)]
)
def test_a_global_batch_is_shared_by_the_processes_of_a_run(
    minimal: Path, processes: int, batch_size: int, accumulate: int
) -> None:
    config = load_config(minimal, ["common.global_batch=32", "common.batch_size=8"]).for_processes(processes)
    assert (config.common.batch_size, config.common.accumulate) == (batch_size, accumulate)
    assert config.common.effective_batch(processes) == 32


def test_batches_of_a_share_are_equal_and_at_most_batch_size(minimal: Path) -> None:
    config = load_config(minimal, ["common.global_batch=24", "common.batch_size=5"]).for_processes(2)
    assert (config.common.batch_size, config.common.accumulate) == (4, 3)


def test_a_global_batch_without_equal_shares_and_one_beside_accumulate_are_errors(minimal: Path) -> None:
    config = load_config(minimal, ["common.global_batch=32"])
    with pytest.raises(ConfigError, match=r"common.global_batch: 32 videos are no equal shares for 3 processes"):
        config.for_processes(3)
    with pytest.raises(ConfigError, match="give either global_batch or accumulate"):
        load_config(minimal, ["common.global_batch=32", "common.accumulate=2"])
