"""Builds C3D (Tran et al. 2015, arXiv 1412.0767), eight 3x3x3 convolutions and two linear layers without any norm."""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor, nn

from utils.config.build import checked

SOURCE = "C3D, mmaction2; Tran et al. 2015, arXiv 1412.0767"
CLIP = (16, 112, 112)  # T, H, W of the only clips that it sees
# stage -> the output channels of its convolutions
STAGES = {1: {"conv1a": 64}, 2: {"conv2a": 128}, 3: {"conv3a": 256, "conv3b": 256},
          4: {"conv4a": 512, "conv4b": 512}, 5: {"conv5a": 512, "conv5b": 512}}  # fmt: skip
POOLED = 8192  # values behind the last pool: 512 channels x 1 x 4 x 4
HIDDEN = 4096


class C3D(nn.Module):
    """Classifies clips (B, 3, 16, 112, 112): logits (B, K).

    dropout: behind the first linear layer and in front of the classifier.
    """

    @checked
    def __init__(self, num_class: PositiveInt = 400, *, dropout: float = 0.5) -> None:
        super().__init__()
        inputs = 3
        for convolutions in STAGES.values():
            for name, outputs in convolutions.items():
                self.add_module(name, nn.Conv3d(inputs, outputs, 3, padding=1))
                inputs = outputs
        self.relu = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool3d((1, 2, 2))
        self.pool = nn.MaxPool3d(2)
        self.pool5 = nn.MaxPool3d(2, padding=(0, 1, 1))
        self.fc6 = nn.Linear(POOLED, HIDDEN)
        self.fc7 = nn.Linear(HIDDEN, HIDDEN)
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()
        self.fc = nn.Linear(HIDDEN, num_class)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        for linear, std in ((self.fc6, 0.005), (self.fc7, 0.005), (self.fc, 0.01)):
            nn.init.normal_(linear.weight, 0.0, std)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Maps clips (B, 3, 16, 112, 112) to logits (B, K). Raises: ValueError for clips of another size."""
        if tuple(x.shape[2:]) != CLIP:
            wanted, given = " x ".join(map(str, CLIP)), " x ".join(map(str, x.shape[2:]))
            raise ValueError(f"C3D's first linear layer takes clips of {wanted} (T x H x W), not {given}")
        for stage, convolutions in STAGES.items():
            for name in convolutions:
                x = self.relu(self.get_submodule(name)(x))
            x = {1: self.pool1, 5: self.pool5}.get(stage, self.pool)(x)
        x = self.dropout(self.relu(self.fc6(x.flatten(1))))
        x = self.dropout(self.relu(self.fc7(x)))
        logits: Tensor = self.fc(x)
        return logits


BUILDERS = {"c3d": C3D}
