"""Compiled programs that carry a batch of rows through a row function.

Two rules make the same numbers:

``ChunkedProgram`` is ONE executable of fixed capacity. A loop over chunks of c rows runs as often
as its argument k says; k is data, so no batch size leads to another program, and inside one
program a row never depends on its position, its neighbours or the padding: the bits of a row are
the same alone, first, last, or on another device of the same kind.

``BucketProgram`` cuts a batch into pieces of 512, 64, 8 and 1 rows, one executable each: faster for
single rows, equal only to rounding.

Both deal their pieces to devices by placing the inputs there; the function is the same.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

#: Bytes that the output buffer of one device may take; a larger capacity is split over more calls.
#: Results are copied out while they are still in the processor's cache: measured, 26 MB of results
#: take 28 ms in one call and 24 ms in four.
BUFFER_BYTES = 8 * 2**20
BUCKETS = (512, 64, 8, 1)
#: jaxlib's CPU solvers share their batch out over the thread pool that they run on, and two of them
#: at once can wait for each other for ever (seen with jaxlib 0.10.2 on 2 cores, 100,000 systems).
_SOLVERS = re.compile(r"= (triangular_solve|lu|cholesky|geqrf|householder_product|eigh?|svd)\b")
_SOLVER_BUCKET = 64
#: A call costs about as much as this many rows of a cheap simulator.
_CALL_IN_ROWS = 8

#: One row: (theta (d,), key data or None) -> pytree of arrays.
RowFunction = Callable[[jax.Array, Any], Any]


def holds_solvers(function: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a function holds linear algebra, of which only a little may run at once.

    Calls of its program must wait for each other.

    Args:
        function: Traceable by JAX.
        arguments: Arrays, or their shapes and dtypes.
    """
    return _SOLVERS.search(str(jax.make_jaxpr(function)(*arguments))) is not None


def compute_devices() -> list[Any]:
    """Return the devices to use: all local ones, or the one that JAX's configuration names."""
    chosen = jax.config.jax_default_device  # type: ignore[attr-defined]
    if chosen is None:
        return jax.local_devices()
    return [jax.local_devices(backend=chosen)[0] if isinstance(chosen, str) else chosen]


def _padded(rows: np.ndarray, size: int) -> np.ndarray:
    """Return ``size`` rows: the given ones, then copies of the first."""
    return np.concatenate([rows, np.broadcast_to(rows[0], (size - len(rows), *rows.shape[1:]))])


@functools.partial(jax.jit, static_argnums=1)
def _head(leaf: jax.Array, count: int) -> jax.Array:
    return leaf[:count]


def _copy_head(leaf: jax.Array, target: np.ndarray, device: Any) -> None:
    """Copy the first rows of a device array into ``target`` and hold on to nothing."""
    count = len(target)
    if device.platform == "cpu" and leaf.dtype != jnp.bool_:
        target[...] = np.from_dlpack(cast(Any, leaf))[:count]
        return
    # Sizes rounded up to a power of two: few slicing programs, little to transfer.
    size = min(len(leaf), 1 << (count - 1).bit_length())
    target[...] = np.asarray(_head(leaf, size))[:count]


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return zeros that start at a multiple of 64 bytes: JAX reads those where they are."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + 64, dtype=np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def _room(leaves: list[Any], count: int) -> list[np.ndarray]:
    """Return uninitialised arrays of ``count`` rows for every leaf, all in one block of memory.

    The C library keeps one freed block for the next call but gives several of the same size back to
    the operating system, whose fresh pages then cost a third of a cheap simulator's time.
    """
    sizes = [count * int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves]
    starts = np.cumsum([0, *(-(-size // 64) * 64 for size in sizes)])
    block = np.empty(starts[-1], dtype=np.uint8)
    return [
        block[start : start + size].view(leaf.dtype).reshape(count, *leaf.shape)
        for leaf, start, size in zip(leaves, starts.tolist(), sizes, strict=False)
    ]


class _Lane:
    """The input and output memory of one device; used by one call at a time."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.inputs: dict[str, np.ndarray] = {}
        self.outputs: list[jax.Array] | None = None

    def fill(self, name: str, rows: np.ndarray, used: int, size: int) -> np.ndarray:
        """Write rows, and copies of the first up to ``used``, into a kept block of ``size``."""
        block = self.inputs.get(name)
        if block is None:
            block = self.inputs[name] = _aligned((size, *rows.shape[1:]), rows.dtype)
        block[: len(rows)] = rows
        block[len(rows) : used] = rows[0]
        return block


class ChunkedProgram:
    """One executable for every batch size.

    The output buffer of a device is given back to the executable at the next call (donated), so
    that a single row neither allocates nor clears room for a full batch; used rows are copied out.
    """

    def __init__(self, row: RowFunction, structure: Any, *, chunk: int, capacity: int) -> None:
        """Prepare the program.

        Args:
            row: function of one row.
            structure: its result's shapes and dtypes (``jax.ShapeDtypeStruct`` leaves).
            chunk: rows that are computed together, c.
            capacity: rows of one call; fewer where the results are large.
        """
        self._leaves, self._tree = jax.tree.flatten(structure)
        size = sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in self._leaves)
        affordable = max(1, BUFFER_BYTES // max(1, size * chunk)) * chunk
        self.chunk = chunk
        self.rows = min(-(-capacity // chunk) * chunk, affordable)
        self._lanes: dict[Any, _Lane] = {}
        self._lock = threading.Lock()

        def run(theta: jax.Array, keys: Any, k: jax.Array, buffers: list[jax.Array]) -> Any:
            def compute(i: jax.Array, buffers: list[jax.Array]) -> list[jax.Array]:
                start = i * chunk
                block = jax.lax.dynamic_slice_in_dim(theta, start, chunk)
                part = None if keys is None else jax.lax.dynamic_slice_in_dim(keys, start, chunk)
                values = jax.vmap(row, in_axes=(0, None if part is None else 0))(block, part)
                return [
                    jax.lax.dynamic_update_slice_in_dim(buffer, piece, start, 0)
                    for buffer, piece in zip(buffers, jax.tree.leaves(values), strict=True)
                ]

            return jax.lax.fori_loop(0, k, compute, buffers)

        self._program = jax.jit(run, donate_argnums=3)

    def _start(self, device: Any, rows: np.ndarray, keys: np.ndarray | None) -> _Lane:
        lane = self._lanes.pop(device, None) or _Lane(device)
        outputs, lane.outputs = lane.outputs, None
        if outputs is None:
            outputs = [
                jnp.zeros((self.rows, *leaf.shape), leaf.dtype, device=device)
                for leaf in self._leaves
            ]
        k = -(-len(rows) // self.chunk)
        used = k * self.chunk
        theta = lane.fill("theta", rows, used, self.rows)
        data = None if keys is None else lane.fill("keys", keys, used, self.rows)
        lane.outputs = self._program(theta, data, np.asarray(k, dtype=np.int32), outputs)
        return lane

    def _finish(self, lane: _Lane, targets: list[np.ndarray], piece: slice) -> None:
        outputs = lane.outputs or []
        # The inputs may be overwritten, and the outputs read, once the executable is done.
        for leaf in outputs:
            leaf.block_until_ready()
        for leaf, target in zip(outputs, targets, strict=True):
            _copy_head(leaf, target[piece], lane.device)
        # Kept only after success: a failed call has consumed its outputs.
        self._lanes[lane.device] = lane

    def __call__(self, rows: np.ndarray, keys: np.ndarray | None) -> Any:
        """Compute every row.

        Args:
            rows: (B, d), B at least 1.
            keys: key data (B, ...) uint32, or None.

        Returns:
            The row function's structure as numpy arrays with a leading B.
        """
        devices = compute_devices()
        targets = _room(self._leaves, len(rows))
        with self._lock:
            for pieces in self._rounds(len(rows), len(devices)):
                running = [
                    (self._start(device, rows[piece], _part(keys, piece)), piece)
                    for device, piece in zip(devices, pieces, strict=False)
                ]
                for lane, piece in running:
                    self._finish(lane, targets, piece)
        return jax.tree.unflatten(self._tree, targets)

    def _rounds(self, count: int, devices: int) -> Iterator[list[slice]]:
        """Deal whole chunks evenly to the devices, at most ``rows`` to each per round."""
        start = 0
        while start < count:
            chunks = -(-(count - start) // self.chunk)
            share = min(self.rows, -(-chunks // devices) * self.chunk)
            pieces = []
            while start < count and len(pieces) < devices:
                pieces.append(slice(start, min(count, start + share)))
                start = pieces[-1].stop
            yield pieces


def _part(keys: np.ndarray | None, piece: slice) -> np.ndarray | None:
    return None if keys is None else keys[piece]


def bucket_pieces(count: int, largest: int = BUCKETS[0]) -> list[tuple[int, int]]:
    """Cut a batch greedily into (rows, bucket) pieces.

    Full buckets first, largest first. What is left goes into one padded bucket when that at most
    doubles it and is cheaper than smaller buckets.
    """
    pieces: list[tuple[int, int]] = []
    left = count
    for bucket in (size for size in BUCKETS if size <= largest):
        pieces += [(bucket, bucket)] * (left // bucket)
        left %= bucket
        if left and bucket <= 2 * left:
            smaller = [b for b in BUCKETS if b < bucket]
            cost, rest = 0, left
            for b in smaller:
                cost, rest = cost + (rest // b) * (b + _CALL_IN_ROWS), rest % b
            if bucket + _CALL_IN_ROWS <= cost:
                return [*pieces, (left, bucket)]
    return pieces


class BucketProgram:
    """One executable for each bucket size."""

    def __init__(self, row: RowFunction, structure: Any) -> None:
        """Prepare the program for a row function and its result's structure."""
        self._leaves, self._tree = jax.tree.flatten(structure)
        batched = jax.vmap(row)
        self._program = jax.jit(lambda theta, keys: jax.tree.leaves(batched(theta, keys)))
        self._solves: bool | None = None

    def _has_solvers(self, rows: np.ndarray, keys: np.ndarray | None) -> bool:
        if self._solves is None:
            one = None if keys is None else keys[:1]
            self._solves = holds_solvers(self._program, rows[:1], one)
        return self._solves

    def __call__(self, rows: np.ndarray, keys: np.ndarray | None) -> Any:
        """Compute every row, as :meth:`ChunkedProgram.__call__` does."""
        devices = compute_devices()
        start, running = 0, []
        solves = self._has_solvers(rows, keys)
        largest = _SOLVER_BUCKET if solves else BUCKETS[0]
        for i, (count, bucket) in enumerate(bucket_pieces(len(rows), largest)):
            piece = slice(start, start + count)
            block, data = rows[piece], _part(keys, piece)
            if count < bucket:
                block = _padded(block, bucket)
                data = None if data is None else _padded(data, bucket)
            if len(devices) > 1:
                block, data = jax.device_put((block, data), devices[i % len(devices)])
            outputs = self._program(block, data)
            running.append((piece, jax.block_until_ready(outputs) if solves else outputs))
            start += count
        if len(running) == 1:
            outputs = [np.asarray(leaf)[: len(rows)] for leaf in running[0][1]]
            return jax.tree.unflatten(self._tree, outputs)
        targets = _room(self._leaves, len(rows))
        for piece, outputs in running:
            for leaf, target in zip(outputs, targets, strict=True):
                target[piece] = np.asarray(leaf)[: piece.stop - piece.start]
        return jax.tree.unflatten(self._tree, targets)
