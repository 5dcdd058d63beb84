"""Small label files as the tools and data sets write them, each with the spans that it means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datasets.spans.span import LabeledVideo, Span


@dataclass(frozen=True)
class Example:
    """A label file. name: of the file. fps: what --fps has to say. beside: other files that lie in its folder."""

    form: str
    name: str
    text: str
    videos: tuple[LabeledVideo, ...]
    fps: float | None = None
    beside: tuple[tuple[str, str], ...] = ()

    def write(self, folder: Path) -> Path:
        for name, text in (*self.beside, (self.name, self.text)):
            (folder / name).write_text(text, encoding="utf-8")
        return folder / self.name


def video(name: str, *spans: tuple, **about: object) -> LabeledVideo:
    return LabeledVideo(name, tuple(Span(*span) for span in spans), **about)  # type: ignore[arg-type]


LABEL_STUDIO = """[{"id": 7, "annotations": [{"id": 5, "completed_by": 1, "was_cancelled": false, "ground_truth": false,
"result": [{"id": "Tx9", "type": "timelinelabels", "from_name": "videoLabels", "to_name": "video", "origin": "manual",
"value": {"ranges": [{"start": 26, "end": 50}], "timelinelabels": ["Run"]}},
{"id": "q1", "type": "choices", "from_name": "c", "to_name": "video", "value": {"choices": ["good"]}}]},
{"id": 6, "was_cancelled": true, "result": []}],
"file_upload": "1a2b3c4d-a_b.mp4", "data": {"video": "/data/upload/3/1a2b3c4d-a_b.mp4"}, "predictions": []},
{"id": 8, "annotations": [], "data": {"video": "/data/local-files/?d=films%2Fc%20d.mp4"}, "predictions": [{"id": 2,
"model_version": "m", "score": 0.5, "result": [{"id": "p", "type": "timelinelabels",
"from_name": "v", "to_name": "video", "score": 0.75,
"value": {"ranges": [{"start": 1, "end": 1}], "timelinelabels": ["Jump"]}}]}]}]"""
SOUND = """[{"id": 1, "data": {"video": "s3://bucket/x/e.mp4"}, "annotations": [{"id": 1, "result": [{"type": "labels",
"original_length": 9.5, "value": {"start": 1.25, "end": 2.5, "channel": 0, "labels": ["Clap"]}, "id": "w",
"from_name": "label", "to_name": "audio"}]}]}]"""
SHORT = """[{"video": "g.mp4", "id": 3, "tricks": [{"ranges": [{"start": 11, "end": 20}], "timelinelabels": ["Flip"]}],
"annotator": 1, "annotation_id": 4, "created_at": "2025-01-01T00:00:00Z", "lead_time": 3.1}]"""
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><id>12</id><name>first</name><size>300</size><mode>interpolation</mode>
<overlap>5</overlap><start_frame>0</start_frame><stop_frame>299</stop_frame><frame_filter></frame_filter>
<labels><label><name>walk</name><color>#f00</color><type>any</type><attributes></attributes></label>
<label><name>run</name><attributes></attributes></label></labels>
<segments><segment><id>3</id><start>0</start><stop>299</stop><url>http://x/3</url></segment></segments>
<owner><username>a</username></owner><source>clip 1.mp4</source></task><dumped>2024-01-01</dumped></meta>
<track id="0" label="run" source="manual">
<box frame="50" keyframe="1" outside="0" occluded="0" xtl="1.0" ytl="1.0" xbr="9.0" ybr="9.0" z_order="0"></box>
<box frame="75" keyframe="0" outside="0" occluded="0" xtl="2.0" ytl="1.0" xbr="9.0" ybr="9.0" z_order="0"></box>
<box frame="100" keyframe="1" outside="1" occluded="0" xtl="2.0" ytl="1.0" xbr="9.0" ybr="9.0" z_order="0"></box>
<box frame="200" keyframe="1" outside="0" occluded="0" xtl="2.0" ytl="1.0" xbr="9.0" ybr="9.0" z_order="0"></box>
</track></annotations>"""
CVAT_TAGS = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><name>t</name><size>4</size><mode>interpolation</mode>
<start_frame>10</start_frame><frame_filter>step=5</frame_filter><source>v.mp4</source></task></meta>
<image id="10" name="frame_000010" width="9" height="9"><tag label="run" source="manual"></tag></image>
<image id="15" name="frame_000015" width="9" height="9"><tag label="run" source="manual"></tag></image>
<image id="20" name="frame_000020" width="9" height="9"></image>
<image id="25" name="frame_000025" width="9" height="9"><tag label="run" source="manual"></tag></image></annotations>"""
ELAN = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-02-03T10:11:12+01:00" FORMAT="3.0" VERSION="3.0"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/films/my%20film.mp4" MIME_TYPE="video/mp4"
RELATIVE_MEDIA_URL="./my%20film.mp4"/>
<PROPERTY NAME="lastUsedAnnotationId">4</PROPERTY></HEADER>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="ts2"/>
<TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="2500"/><TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="4125"/></TIME_ORDER>
<TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="action">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE>stir</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3">
<ANNOTATION_VALUE>pour</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="talks">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
<ANNOTATION_VALUE></ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER LINGUISTIC_TYPE_REF="ref" PARENT_REF="talks" TIER_ID="note">
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a4" ANNOTATION_REF="a3"><ANNOTATION_VALUE>loud</ANNOTATION_VALUE>
</REF_ANNOTATION></ANNOTATION></TIER>
<LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/>
</ANNOTATION_DOCUMENT>"""
FIFTYONE = """{"classes": ["a", "b"], "labels": {"v1": [{"label": "a", "support": [11, 20], "confidence": 0.5}],
"v2": [{"label": 1, "timestamps": [0.5, 2.0]}], "v3": null}}"""
SAMPLES = """{"samples": [{"_id": {"$oid": "6"}, "filepath": "data/v.mp4", "tags": [], "_media_type": "video",
"metadata": {"_cls": "VideoMetadata", "frame_rate": 10.0, "total_frame_count": 100, "duration": 10.0},
"events": {"_cls": "TemporalDetections", "detections": [{"_id": {"$oid": "7"}, "_cls": "TemporalDetection", "tags": [],
"attributes": {}, "label": "meet", "support": [1, 10]}]}}]}"""
VIA = """{"project": {"pid": "__VIA_PROJECT_ID__", "rev": "1", "pname": "p", "created": 1588343615019, "vid_list":
["1"]}, "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}, "ui": {}},
"attribute": {"1": {"aname": "Activity", "anchor_id": "FILE1_Z2_XY0", "type": 4, "desc": "", "options":
{"1": "Break Egg", "2": "Mix"}, "default_option_id": ""},
"2": {"aname": "Object", "anchor_id": "FILE1_Z1_XY1", "type": 1, "desc": "", "options": {}, "default_option_id": ""}},
"file": {"1": {"fid": 1, "fname": "Alioli.ogv", "type": 4, "loc": 2, "src": "https://x.org/Alioli.ogv"}},
"metadata": {"-glfwaaX": {"vid": "1", "flg": 0, "z": [2, 6.5], "xy": [], "av": {"1": "1"}},
"+mHHT-tg": {"vid": "1", "flg": 0, "z": [9, 20], "xy": [], "av": {"1": "2"}},
"fH-oMre1": {"vid": "1", "flg": 0, "z": [0.917], "xy": [4, 263, 184, 17, 13], "av": {"2": "Egg"}}},
"view": {"1": {"fid_list": [1]}}}"""
ACTIVITYNET = """{"version": "VERSION 1.3", "taxonomy": [], "database": {"sJFgo9H6zNo": {"duration": 31.5, "subset":
"training", "resolution": "640x360", "url": "https://x/sJF", "annotations": [{"segment": [0.5, 7.25], "label":
"Fixing bicycle"}]}, "test1": {"duration": "92.166667", "subset": "testing", "annotations": []}}}"""
RESULTS = """{"version": "VERSION 1.3", "results": {"5n7NCViB5TU": [{"label": "Discus throw", "score": 0.75, "segment":
[24.25, 38.08]}]}, "external_data": {"used": true}}"""
EPIC = """narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,\
stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes
P01_01_0,P01,P01_01,00:00:01.089,00:00:00.14,00:00:03.37,8,202,open door,open,3,door,3,['door'],[3]
P01_102_0,P01,P01_102,00:00:01.100,00:01:00.54,00:01:02.25,27,111,take knife and plate,take,0,knife,4,"['knife', \
'plate']","[4, 2]"
"""
VERBS = "id,key,instances,category\n0,take,\"['take', 'grab']\",retrieve\n3,open,\"['open', 'unwrap']\",access\n"
NOUNS = "id,key,instances,category\n3,cupboard,\"['cupboard', 'door']\",storage\n4,knife,\"['knife']\",cutlery\n"
CHARADES = """id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length
46GP8,HR43,Kitchen,6,7,Yes,"A cook, and so.",food;stove,Person is cooking.,c092 11.90 21.20;c147 0.00 12.60,24.83
YMXV0,HR43,Kitchen,6,7,Yes,x,,x.,,10.00
"""
HACS = """classname,youtube_id,subset,start,end,label
Archery,a2X2hz1G6i8,training,15.5,17.5,1
Archery,NUdji_CqvcY,training,77.5,79.5,-1
"""
GYM = """{"0LtLS9wROrk": {"E_002407_002435": {"event": 2, "segments": {"A_0003_0005": {"stages": 1, "timestamps":
[[3.25, 5.5]]}, "A_0010_0014": {"stages": 2, "timestamps": [[10.0, 12.0], [12.0, 14.5]]}}, "timestamps":
[[2407.5, 2435.25]]}, "E_002500_002510": {"event": 1, "segments": null, "timestamps": [[2500.0, 2510.0]]}}}"""
GYM_LIST = "0LtLS9wROrk_E_002407_002435_A_0003_0005 12\n0LtLS9wROrk_E_002407_002435_A_0010_0014 3\n"
SRT = "1\n00:00:01,000 --> 00:00:02,500\nrun\n\n2\n01:00:00,040 --> 01:00:01,000\njump\n"
VTT = "WEBVTT\n\nNOTE by hand\n\n00:01.000 --> 00:02.500 align:start\nrun\n\nid\n01:00:00.040 --> 01:00:01.000\njump\n"
FRAMES = "video;label;start_frame;end_frame;fps\na.mp4;run;10;20;10\nb.mp4;run;0;5;\n"
CLOCKS = "Video,Class,Start time,End time,note\na.mp4,run,00:00:01.50,00:01:00,x\nb.mp4,,,,\n"

EXAMPLES = {
    "label_studio": Example(
        "label_studio",
        "project-1.json",
        LABEL_STUDIO,
        (video("a_b.mp4", (1.0, 2.0, "Run")), video("films/c d.mp4", (0.0, 0.04, "Jump", 0.75))),
        fps=25,
    ),
    "label_studio_sound": Example("label_studio", "p.json", SOUND, (video("x/e.mp4", (1.25, 2.5, "Clap")),)),
    "label_studio_short": Example("label_studio", "p.json", SHORT, (video("g.mp4", (1.0, 2.0, "Flip")),), fps=10),
    "cvat": Example(
        "cvat",
        "annotations.xml",
        CVAT,
        (video("clip 1.mp4", (2.0, 4.0, "run"), (8.0, 12.0, "run"), num_frames=300),),
        fps=25,
    ),
    "cvat_tags": Example(
        "cvat", "annotations.xml", CVAT_TAGS, (video("v.mp4", (1.0, 2.0, "run"), (2.5, 3.0, "run")),), fps=10
    ),
    "elan": Example(
        "elan",
        "x.eaf",
        ELAN,
        (video("my film.mp4", (1.0, 1.75, "stir"), (1.75, 2.5, "pour"), (2.5, 4.125, "loud"), (2.5, 4.125, "talks")),),
    ),
    "elan_origin": Example(
        "elan",
        "x.eaf",
        ELAN.replace("MIME_TYPE", 'TIME_ORIGIN="2000" MIME_TYPE'),  # the annotations begin two seconds into the film
        (video("my film.mp4", (3.0, 3.75, "stir"), (3.75, 4.5, "pour"), (4.5, 6.125, "loud"), (4.5, 6.125, "talks")),),
    ),
    "fiftyone": Example(
        "fiftyone",
        "labels.json",
        FIFTYONE,
        (video("v1", (1.0, 2.0, "a", 0.5)), video("v2", (0.5, 2.0, "b")), video("v3")),
        fps=10,
    ),
    "fiftyone_samples": Example(
        "fiftyone",
        "samples.json",
        SAMPLES,
        (video("data/v.mp4", (0.0, 1.0, "meet"), fps=10.0, duration=10.0, num_frames=100),),
    ),
    "via": Example(
        "via",
        "via_project.json",
        VIA,
        (video("https://x.org/Alioli.ogv", (2.0, 6.5, "Break Egg"), (9.0, 20.0, "Mix")),),
    ),
    "activitynet": Example(
        "activitynet",
        "activity_net.v1-3.min.json",
        ACTIVITYNET,
        (
            video("sJFgo9H6zNo", (0.5, 7.25, "Fixing bicycle"), duration=31.5, subset="training"),
            video("test1", duration=92.166667, subset="testing"),
        ),
    ),
    "activitynet_results": Example(
        "activitynet", "results.json", RESULTS, (video("5n7NCViB5TU", (24.25, 38.08, "Discus throw", 0.75)),)
    ),
    "thumos14": Example(
        "thumos14",
        "BaseballPitch_val.txt",
        "video_validation_0000266  72.8 76.4\nvideo_validation_0000266  84.1 86.7\n",
        (
            video(
                "video_validation_0000266", (72.8, 76.4, "BaseballPitch"), (84.1, 86.7, "BaseballPitch"), subset="val"
            ),
        ),
    ),
    "multithumos": Example(
        "multithumos",
        "Walk.txt",
        "video_validation_0000051 169.93 171.97\n",
        (video("video_validation_0000051", (169.93, 171.97, "Walk")),),
    ),
    "charades": Example(
        "charades",
        "Charades_v1_train.csv",
        CHARADES,
        (video("46GP8", (0.0, 12.6, "c147"), (11.9, 21.2, "c092"), duration=24.83), video("YMXV0", duration=10.0)),
    ),
    "epic_kitchens": Example(
        "epic_kitchens",
        "EPIC_100_train.csv",
        EPIC,
        (video("P01_01", (0.14, 3.37, "open cupboard")), video("P01_102", (60.54, 62.25, "take knife"))),
        beside=(("EPIC_100_verb_classes.csv", VERBS), ("EPIC_100_noun_classes.csv", NOUNS)),
    ),
    "epic_kitchens_numbers": Example(
        "epic_kitchens",
        "EPIC_100_train.csv",
        EPIC,
        (video("P01_01", (0.14, 3.37, "3 3")), video("P01_102", (60.54, 62.25, "0 4"))),
    ),
    "hacs_clips": Example(
        "hacs_clips",
        "HACS_clips_v1.1.csv",
        HACS,
        (video("NUdji_CqvcY", subset="training"), video("a2X2hz1G6i8", (15.5, 17.5, "Archery"), subset="training")),
    ),
    "finegym": Example(
        "finegym",
        "finegym_annotation_info_v1.1.json",
        GYM,
        (video("0LtLS9wROrk", (2407.5, 2435.25, "floor exercise"), (2500.0, 2510.0, "vault")),),
    ),
    "finegym_elements": Example(
        "finegym",
        "gym99_train_element_v1.1.txt",
        GYM_LIST,
        (video("0LtLS9wROrk", (2410.75, 2413.0, "12"), (2417.5, 2422.0, "3"), subset="train"),),
        beside=(("finegym_annotation_info_v1.1.json", GYM),),
    ),
    "srt": Example("srt", "film.srt", SRT, (video("film", (1.0, 2.5, "run"), (3600.04, 3601.0, "jump")),)),
    "vtt": Example("vtt", "film.mp4.vtt", VTT, (video("film", (1.0, 2.5, "run"), (3600.04, 3601.0, "jump")),)),
    "csv_frames": Example(
        "csv",
        "a.csv",
        FRAMES,
        (video("a.mp4", (1.0, 2.0, "run"), fps=10.0), video("b.mp4", (0.0, 0.2, "run"))),
        fps=25,
    ),
    "csv_clocks": Example("csv", "a.csv", CLOCKS, (video("a.mp4", (1.5, 60.0, "run")), video("b.mp4"))),
}
