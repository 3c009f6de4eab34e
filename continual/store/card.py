"""What a stored module says of itself: typed, versioned JSON. Names only, never anything that could be imported."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from continual.errors import ContinualError
from continual.files import canonical, sha256

SCHEMA = 1
NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"


class EncoderRef(BaseModel):
    """The encoder that the module was trained on; only the fingerprint binds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    revision: str | None
    fingerprint: str


class Card(BaseModel):
    """``identity`` goes into the digest; ``origin`` tells where the first writer got the module, and does not.

    kind     "adapter": a method's tensors and a head · "composition": a mixer's tensors and a head over its ``parents``
    method   name of a file in continual/method or continual/composition, with its arguments
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = SCHEMA
    kind: Literal["adapter", "composition"]
    method: str = Field(pattern=NAME)
    arguments: dict[str, Any]
    encoder: EncoderRef
    pooling: str
    head: str = Field(pattern=NAME)
    labels: tuple[str, ...]
    parents: tuple[str, ...] = ()
    tensors: dict[str, str]  # file name -> digest of its tensors
    origin: dict[str, Any] = {}

    @property
    def identity(self) -> dict[str, Any]:
        facts = self.model_dump(mode="json", exclude={"origin"})
        facts["encoder"] = self.encoder.fingerprint
        return facts

    @property
    def digest(self) -> str:
        return sha256(canonical(self.identity))


class Named(Protocol):
    """An encoder, loaded or referred to."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...


def require(card: Card, encoder: Named) -> None:
    """Raises ContinualError where a module was made on another encoder: its tensors mean nothing on this one."""
    made = card.encoder
    if made.fingerprint != encoder.fingerprint:
        revision = f" encoder.revision={made.revision}" if made.revision else ""
        place = f"encoder.name={made.name}{revision} encoder.pooling={card.pooling}"
        raise ContinualError(
            f"the {card.method} {card.digest[:12]}… belongs to another encoder: expected {made.name} "
            f"({made.fingerprint[:12]}…), got {encoder.name} ({encoder.fingerprint[:12]}…); load the encoder that it "
            f"was made on ({place}), or learn the task on this one"
        )
