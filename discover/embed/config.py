"""Settings of the encoder and the index."""

from typing import Literal

from pydantic import Field

from discover.strict import Strict


class EncoderConfig(Strict):
    """Which transformer turns text into vectors, and how."""

    model: str = Field("all-MiniLM-L6-v2", description="the packaged default, a hub id, or a folder")
    retrieval: str | None = Field(
        None,
        description="another model, for the vectors that the index holds; none: `model`. In a run that has begun it "
        "takes over when it has embedded the pool, in the background",
    )
    max_tokens: int = Field(128, ge=8, le=8192, description="longer texts are cut here")
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="auto: bfloat16 where the device is faster with it"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 …")

    @property
    def retriever(self) -> str:
        """The model whose vectors the index is to hold."""
        return self.retrieval or self.model
