"""The packages that the worker needs on top of what Slicer bundles, and how pip is called for them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """One package.

    Attributes:
        requirement: what pip is asked for.
        module: what it is imported as.
        megabytes: size once installed, with what it brings along (measured on Linux, CPU build of torch).
        alone: install it without its dependencies.
    """

    requirement: str
    module: str
    megabytes: int
    alone: bool = False

    @property
    def name(self) -> str:
        """The name of the distribution."""
        return self.requirement.split(">")[0].split("=")[0].strip()


TORCH = Package("torch>=2.4", "torch", 900)
#: Size of a build of torch for NVIDIA GPUs, with its libraries.
TORCH_CUDA_MEGABYTES = 6000

# Without dependencies: monai and einops need only torch and numpy, which are there; dynamic-network-architectures
# (nnU-Net's networks) declares timm and so torchvision, which would bring another torch, and uses neither for U-Nets.
PACKAGES = (
    TORCH,
    Package("monai>=1.4", "monai", 12, alone=True),
    Package("einops>=0.7", "einops", 1, alone=True),
    Package("dynamic-network-architectures>=0.3", "dynamic_network_architectures", 1, alone=True),
    Package("matplotlib>=3.7", "matplotlib", 60),
    Package("PyYAML>=6.0", "yaml", 1),
    Package("picsl-greedy>=1.4", "picsl_greedy", 60, alone=True),  # needs SimpleITK and numpy, which are there
    Package("reportlab>=4.2", "reportlab", 12),
    Package("pyHanko>=0.25", "pyhanko", 46),
)

# What SAM 3 and MedGemma need on top; pinned, because their classes change from one version to the next. None of them
# brings torch along.
LARGE_MODELS = (
    Package("transformers==5.24.0", "transformers.models.sam3_tracker_video.modeling_sam3_tracker_video", 120),
    Package("tokenizers==0.23.3", "tokenizers", 12),
    Package("safetensors==0.8.0", "safetensors", 2),
    # with what it needs, and numpy again
    Package("huggingface_hub==2.4.0", "huggingface_hub", 110),
)


def pip_steps(packages, python: str, target: str | None = None, wheels: str | None = None,
              constraints: str | None = None, torch_index: str | None = None) -> list[list[str]]:
    """The pip commands that install ``packages``, in order.

    Args:
        target: folder to install into; None for the Python itself.
        wheels: folder of wheel files to install from, without any network.
        constraints: file of versions that must not change.
        torch_index: address of a package index for torch (builds for CPU or CUDA).
    """
    base = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    if target:
        # --upgrade: a folder that a former step filled in part must not make pip skip a package.
        base += ["--target", target, "--upgrade"]
    if wheels:
        base += ["--no-index", "--find-links", wheels]
    steps = []
    torch = [p.requirement for p in packages if p is TORCH]
    alone = [p.requirement for p in packages if p.alone]
    others = [p.requirement for p in packages if p is not TORCH and not p.alone]
    if torch:
        index = ["--index-url", torch_index] if torch_index and not wheels else []
        steps.append(base + index + _constrained(constraints) + torch)
    if others:
        steps.append(base + _constrained(constraints) + others)
    if alone:
        steps.append(base + ["--no-deps"] + alone)
    return steps


def _constrained(constraints) -> list[str]:
    return ["--constraint", constraints] if constraints else []
