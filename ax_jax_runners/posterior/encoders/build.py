"""The encoder that a schema and a configuration ask for."""

from __future__ import annotations

from jax import Array

from ax_jax_runners.errors import ConfigurationError
from ax_jax_runners.posterior.configuration import EncoderConfiguration
from ax_jax_runners.posterior.encoders.convolution import ConvolutionEncoder
from ax_jax_runners.posterior.encoders.dense import Perceptron, WeightSource
from ax_jax_runners.posterior.encoders.flat import FlatEncoder
from ax_jax_runners.posterior.encoders.fusion import FusionEncoder, Piece, VectorEncoder
from ax_jax_runners.posterior.encoders.patches import PatchEncoder
from ax_jax_runners.posterior.encoders.schema import BlockSchema, ObservationSchema

_SEQUENCES = ("spectrum", "time_series")


def build_encoder(
    key: Array, schema: ObservationSchema, configuration: EncoderConfiguration
) -> VectorEncoder | FusionEncoder:
    """Return an encoder with fresh weights.

    It takes one standardised observation (by block and channel, (L,) arrays) to its embedding,
    ``encoder.embedding_dim`` numbers of float32; map it over several. Two encoders of equal schema
    and configuration differ in their float32 arrays only, so they can be stacked.

    Args:
        key: Decides the weights; a concrete one, for they are drawn on the host.
        schema: Of the observations.
        configuration: Of the network.

    Raises:
        ConfigurationError: ``n_wavelengths`` is not the length of a spectrum.
    """
    source = WeightSource(key)
    width = configuration.hidden_dim
    if schema.vector_only:
        length = schema.blocks[0].length
        if not configuration.vector_depth:
            return VectorEncoder(None, length)
        hidden = [width] * configuration.vector_depth
        sizes = [length, *hidden, configuration.embedding_dim]
        return VectorEncoder(Perceptron.draw(source, sizes), configuration.embedding_dim)
    _check_wavelengths(schema, configuration)
    pieces: list[Piece] = [
        _build_sequence_encoder(source, block, configuration)
        for block in schema.blocks
        if block.modality in _SEQUENCES
    ]
    size = configuration.spectrum_embedding_dim * len(pieces)
    flat = [block for block in schema.blocks if block.modality not in _SEQUENCES]
    if flat:
        outputs = configuration.photometry_embedding_dim
        pieces.append(FlatEncoder.draw(source, flat, width=width, outputs=outputs))
        size += outputs
    fusion = Perceptron.draw(source, [size, width, configuration.embedding_dim])
    return FusionEncoder(tuple(pieces), fusion, configuration.embedding_dim)


def _build_sequence_encoder(
    source: WeightSource, block: BlockSchema, configuration: EncoderConfiguration
) -> Piece:
    width, outputs = configuration.hidden_dim, configuration.spectrum_embedding_dim
    if configuration.spectrum == "patch":
        size = configuration.patch_size
        return PatchEncoder.draw(source, block, width=width, outputs=outputs, patch_size=size)
    return ConvolutionEncoder.draw(source, block, width=width, outputs=outputs)


def _check_wavelengths(schema: ObservationSchema, configuration: EncoderConfiguration) -> None:
    wanted = configuration.n_wavelengths
    for block in schema.blocks:
        if wanted is not None and block.modality == "spectrum" and block.length != wanted:
            raise ConfigurationError(
                f"n_wavelengths is {wanted}, and the spectrum {block.name!r} has {block.length}; "
                "give its length, or None for that of the data."
            )
