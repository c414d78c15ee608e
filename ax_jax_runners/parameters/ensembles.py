"""Sets of raw parameters as one pytree whose arrays have a leading axis: the members."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ax_jax_runners.errors import ParameterError
from ax_jax_runners.parameters.bijector import Bijector
from ax_jax_runners.parameters.bijectors import Identity


def initialise(
    values: Mapping[str, Any],
    *,
    members: int,
    shape: Any = (),
    bijectors: Mapping[str, Bijector] | None = None,
    scale: float | Mapping[str, float] = 0.0,
    key: Any = None,
) -> dict[str, Any]:
    """Return the raw parameters of several members around values that people read.

    Member 0 has exactly the raw numbers of the values. The others have Gaussian noise added to
    theirs, drawn for each parameter by its name and for each member by its number: neither other
    parameters nor more members change it.

    Args:
        values: Names to a number, an array of a parameter's shape, or one with a leading axis of
            the members. Nested (subsidiary) parameters are a mapping or a list of mappings.
        members: How many.
        shape: Of each parameter of one member, a tuple or an integer; or a mapping by name, nested
            and with lists as in ``values``, whose tuples hold for everything below them.
        bijectors: By name, at every depth; others are raw already.
        scale: Standard deviation of the noise, in raw numbers; or one for each name.
        key: A JAX random key; needed where there is noise.

    Returns:
        Nested as ``values``, with JAX arrays (members, *shape) of JAX's default float type.

    Raises:
        ParameterError: Shapes that do not fit, a value outside its bijector's domain or not finite,
            a name of a bijector or scale that no parameter has, a missing scale or key.
    """
    if isinstance(members, bool) or not isinstance(members, (int, np.integer)) or members < 1:
        raise ParameterError(f"members is {members!r}; give a whole number of at least 1.")
    found: set[str] = set()
    maps = dict(bijectors or {})

    def leaf(path: str, name: str, value: Any, wanted: Any) -> Any:
        import jax.numpy as jnp

        found.add(name)
        raw = _raw(path, value, (members, *_shape(path, wanted)), maps.get(name, Identity()))
        size = _scale(path, scale[name] if isinstance(scale, Mapping) and name in scale else scale)
        if size and members > 1:
            raw[1:] += size * _noise(key, path, raw.shape)
        return jnp.asarray(raw, dtype=float)

    result = _walk(values, shape, leaf)
    for what, given in (("bijectors", maps), ("scale", scale)):
        unknown = sorted(set(given) - found) if isinstance(given, Mapping) else []
        if unknown:
            raise ParameterError(
                f"{what} names {unknown[0]!r}, which is no parameter; the parameters are "
                f"{', '.join(sorted(found))}."
            )
    return result


def _walk(values: Mapping[str, Any], shape: Any, leaf: Callable[..., Any], above: str = "") -> Any:
    made = {}
    for name, value in values.items():
        path = f"{above}{name}"
        wanted = shape
        if isinstance(shape, Mapping):
            if name not in shape:
                raise ParameterError(f"shape has no {path!r}; give the shape of every parameter.")
            wanted = shape[name]
        if isinstance(value, Mapping):
            made[name] = _walk(value, wanted, leaf, f"{path}/")
        elif _is_nested(value):
            each = wanted if isinstance(wanted, list) else [wanted] * len(value)
            if len(each) != len(value):
                raise ParameterError(
                    f"shape has {len(each)} entries for the {len(value)} of {path!r}; give one for "
                    "each."
                )
            made[name] = [
                _walk(item, part, leaf, f"{path}/{i}/")
                for i, (item, part) in enumerate(zip(value, each, strict=True))
            ]
        else:
            made[name] = leaf(path, name, value, wanted)
    return made


def _is_nested(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, Mapping) for item in value)


def _shape(path: str, wanted: Any) -> tuple[int, ...]:
    try:
        return tuple(int(n) for n in np.atleast_1d(np.asarray(wanted, dtype=int)))
    except (TypeError, ValueError) as error:
        raise ParameterError(f"The shape of {path!r} is {wanted!r}; give a tuple.") from error


def _raw(path: str, value: Any, full: tuple[int, ...], bijector: Bijector) -> np.ndarray:
    try:
        given = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"Parameter {path!r} is {value!r}; give a number or an array of numbers."
        ) from error
    if not np.all(np.isfinite(given)):
        raise ParameterError(f"Parameter {path!r} holds {given}; give finite values.")
    try:
        spread = np.broadcast_to(given, full)
    except ValueError as error:
        raise ParameterError(
            f"Parameter {path!r} has the shape {given.shape}; give a number, the shape "
            f"{full[1:]} of a member, or {full} with the members first."
        ) from error
    try:
        return np.array(bijector.to_raw(spread))
    except ParameterError as error:
        raise ParameterError(f"Parameter {path!r}: {error}") from error


def _scale(path: str, given: Any) -> float:
    if isinstance(given, Mapping):
        raise ParameterError(
            f"scale has no {path.rpartition('/')[2]!r}; give one for every parameter, 0 for none."
        )
    size = float(given)
    if not 0 <= size < np.inf:
        raise ParameterError(f"The scale of {path!r} is {size}; give a finite one of at least 0.")
    return size


def _noise(key: Any, path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers for all members but the first."""
    import jax

    if key is None:
        raise ParameterError(f"Parameter {path!r} is given noise and no key; give a random key.")
    # Doubles whatever the process's precision, so that a key stands for the same ensemble.
    with jax.enable_x64(True):
        own = jax.random.fold_in(key, zlib.crc32(path.encode()))
        keys = jax.vmap(lambda i: jax.random.fold_in(own, i))(np.arange(1, shape[0]))
        draw = jax.vmap(lambda k: jax.random.normal(k, shape[1:], dtype=np.float64))
        return np.asarray(draw(keys))


def stack(members: Sequence[Any]) -> Any:
    """Return pytrees of one structure as one whose arrays have a leading axis, the members.

    Leaves are NumPy arrays where all were numbers or NumPy arrays, else JAX arrays.

    Raises:
        ParameterError: No members, or members of different structures or shapes.
    """
    import jax

    members = list(members)
    if not members:
        raise ParameterError("There are no members to stack; give at least one.")
    first = jax.tree.structure(members[0])
    for number, member in enumerate(members):
        if jax.tree.structure(member) != first:
            raise ParameterError(
                f"Member {number} has the structure {jax.tree.structure(member)}, member 0 {first};"
                " give members of one structure."
            )

    def joined(path: Any, *leaves: Any) -> Any:
        shapes = sorted({np.shape(leaf) for leaf in leaves})
        if len(shapes) > 1:
            raise ParameterError(
                f"The members' {jax.tree_util.keystr(path)} have the shapes "
                f"{', '.join(map(str, shapes))}; give members of one shape."
            )
        xp = jax.numpy if any(isinstance(leaf, jax.Array) for leaf in leaves) else np
        return xp.stack(leaves)

    return jax.tree_util.tree_map_with_path(joined, *members)


def unstack(batch: Any) -> list[Any]:
    """Return the members of a pytree whose arrays have a leading axis: what `stack` was given.

    Raises:
        ParameterError: No arrays, or arrays without one and the same leading axis.
    """
    import jax

    lengths = {
        jax.tree_util.keystr(path): np.shape(leaf)[:1]
        for path, leaf in jax.tree_util.tree_leaves_with_path(batch)
    }
    if len(set(lengths.values())) != 1 or () in lengths.values():
        listed = ", ".join(f"{path}: {' '.join(map(str, n))}" for path, n in lengths.items())
        raise ParameterError(
            f"The leading axes are {listed or 'those of no array'}; give a pytree of arrays with "
            "one leading axis."
        )
    (count,) = next(iter(lengths.values()))
    return [jax.tree.map(lambda leaf, i=i: leaf[i], batch) for i in range(count)]


def stack_batches(members: Sequence[Any], *, size: int) -> list[Any]:
    """Return members stacked ``size`` at a time; the last batch holds what is left."""
    if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
        raise ParameterError(f"size is {size!r}; give a whole number of at least 1.")
    members = list(members)
    return [stack(members[i : i + size]) for i in range(0, len(members), size)]


def vmap_axes(tree: Any, *, mapped: Callable[[str, Any], bool]) -> Any:
    """Return ``in_axes`` for `jax.vmap`: 0 for the leaves that are mapped, None for shared ones.

    Args:
        tree: The argument that is to be mapped over.
        mapped: Says of a leaf's path, such as ``"subsidiary/0/log_k"``, and the leaf, whether its
            leading axis is the members.
    """
    import jax

    def axis(path: Any, leaf: Any) -> int | None:
        return 0 if mapped(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) else None

    return jax.tree_util.tree_map_with_path(axis, tree)
