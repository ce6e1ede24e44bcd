"""Scores in the latent space of a shape model.

The BScore (Bowes et al. 2021; Gatti et al. 2024) is the place of a bone along the direction from healthy to arthritic
bones, in standard deviations of healthy ones. Its vectors mean something in the latent space of ONE model only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from MRISegSuiteLib.errors import BadInput

MOST_BYTES = 1 << 20


class OtherLatentSpace(BadInput):
    """Vectors of a score that belong to another model."""

    code = "other_latent_space"


@dataclass(frozen=True)
class ScoreVectors:
    """Where healthy bones lie in a latent space, and which way arthritis leads.

    Attributes:
        direction: (N,) from healthy to arthritic, of length 1 in the published definition.
        mean, sd: of healthy bones' projections on it (sample standard deviation).
        model_sha256: hash of the model in whose latent space they are.
    """

    direction: np.ndarray
    mean: float
    sd: float
    model_sha256: str

    @classmethod
    def read(cls, content: bytes, model_sha256: str, source: str) -> ScoreVectors:
        """Vectors in JSON: ``bscore_vector``, ``mean_healthy``, ``std_healthy``, and maybe ``model_sha256``.

        Args:
            content: of the file.
            model_sha256: of the model whose card lists this file; the file must not name another one.
            source: what to call the file in messages.

        Raises:
            BadInput: not such a file.
            OtherLatentSpace: it names another model.
        """
        try:
            if len(content) > MOST_BYTES:
                raise ValueError("it is too large")
            record = json.loads(content)
            direction = np.array(record["bscore_vector"], dtype=np.float64)
            mean, sd = float(record["mean_healthy"]), float(record["std_healthy"])
            if direction.ndim != 1 or not np.isfinite([*direction, mean, sd]).all() or sd <= 0:
                raise ValueError("its numbers are no vector, mean and standard deviation")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadInput(
                f"{source} holds no BScore vectors: {error}.",
                "It must be JSON with bscore_vector, mean_healthy and std_healthy.",
            ) from error
        named = record.get("model_sha256", model_sha256)
        if named != model_sha256:
            raise OtherLatentSpace(
                f"The BScore vectors in {source} belong to the shape model {str(named)[:12]}…, not to "
                f"{model_sha256[:12]}….",
                "A BScore exists only in the latent space of its own model. Use that model.",
            )
        return cls(direction, mean, sd, model_sha256)


def bscore(latent: np.ndarray, vectors: ScoreVectors, model_sha256: str) -> float:
    """``(z v - mean(z_H v)) / SD(z_H v)`` (Gatti et al. 2024).

    Args:
        latent: (N,) z, the bone in the latent space.
        vectors: v, and mean and standard deviation over healthy bones z_H.
        model_sha256: of the model that gave ``latent``.

    Raises:
        OtherLatentSpace: the vectors belong to another model, or have another length.
    """
    if vectors.model_sha256 != model_sha256 or len(vectors.direction) != len(latent):
        raise OtherLatentSpace(
            f"The BScore vectors ({len(vectors.direction)} numbers, model {vectors.model_sha256[:12]}…) do not belong "
            f"to the latent space of the shape model that was fitted ({len(latent)} numbers, {model_sha256[:12]}…).",
            "A BScore exists only in the latent space of its own model. Use that model.",
        )
    return float((latent @ vectors.direction - vectors.mean) / vectors.sd)


def shape_distance(numbers: np.ndarray, spread: np.ndarray) -> float:
    """How far a bone's shape is from its population's mean: root mean square of its numbers, in standard deviations.

    Typically 1 for a bone of that population. It says unusual, not ill: it is no BScore.
    """
    return float(np.sqrt(np.mean((numbers / spread) ** 2)))
