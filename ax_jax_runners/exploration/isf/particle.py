"""One particle: the loop over iterations, with its checkpoints and its ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ax_jax_runners.errors import ConfigurationError, SeedPointOutside
from ax_jax_runners.exploration.isf.aims import AimCounter
from ax_jax_runners.exploration.isf.answers import Kept, ask
from ax_jax_runners.exploration.isf.folder import ParticleFolder
from ax_jax_runners.exploration.isf.law import Law
from ax_jax_runners.exploration.isf.manifest import (
    Manifest,
    Standing,
    Status,
    freeze_random,
    thaw_random,
)
from ax_jax_runners.exploration.isf.settings import Limits, RWOutcome
from ax_jax_runners.exploration.isf.shards import OWN_COLUMNS, Rows
from ax_jax_runners.exploration.isf.start import Start

_LOG = logging.getLogger("ax_jax_runners.exploration")


class Particle:
    """A walk from one seed point in one folder."""

    def __init__(
        self,
        *,
        law: Law,
        start: Start,
        limits: Limits,
        evaluate: Callable[[Any], Any],
        folder: ParticleFolder,
        counter: AimCounter,
        particle_id: int | str,
        described: Mapping[str, Any],
    ) -> None:
        """Put a walk together; nothing is read or evaluated before `run`.

        Args:
            law: How points are suggested.
            start: Where the walk begins.
            limits: When it saves and ends.
            evaluate: Gets a named Series; see `ask`.
            folder: Where it is kept; locked by the caller.
            counter: Of the points that reached all aims.
            particle_id: Stands in every row.
            described: What decides the walk, as plain JSON; it goes on with the same only.
        """
        import pandas as pd

        self._law = law
        self._start = start
        self._limits = limits
        self._evaluate = evaluate
        self._folder = folder
        self._counter = counter
        self._described = dict(described)
        names = start.ranges.names
        self._left_out = frozenset((*names, *OWN_COLUMNS))
        self._rows = Rows(names, particle_id)
        self._series = pd.Series
        self._index = pd.Index(names)

    def run(self, seed: int) -> RWOutcome:
        """Walk to the end, from the last checkpoint if there is one.

        Args:
            seed: Of the random stream; a walk that goes on keeps the stream that it has.
        """
        manifest = self._folder.load()
        if manifest is None or not (manifest.shards or manifest.damaged):
            manifest = self._begin(seed)
        else:
            self._check_same(manifest)
            if manifest.law["seed"] != seed:
                _LOG.warning(
                    "%s keeps the random stream of seed %s; seed %d is not used",
                    self._folder.path,
                    manifest.law["seed"],
                    seed,
                )
            manifest = self._merge_if_due(manifest)
            _LOG.info("%s goes on at iteration %d", self._folder.path, manifest.standing.iteration)
        manifest = self._walk(manifest)
        place, standing = self._folder.path, manifest.standing
        _LOG.info(
            "%s: %s after %d iterations, %d of them inside",
            place,
            manifest.status,
            standing.iteration,
            standing.inside,
        )
        return RWOutcome(
            status=manifest.status,
            iterations=standing.iteration,
            inside=standing.inside,
            directory=place,
            reason=manifest.reason,
            damaged=tuple(shard.name for shard in manifest.damaged),
        )

    def _begin(self, seed: int) -> Manifest:
        inside, answer = self._ask(self._start.point, "at the seed point")
        if not inside:
            raise SeedPointOutside(
                f"The seed point of {self._folder.path} is outside: the evaluation function "
                f"returned {inside} and {answer}. Start from a point that is inside."
            )
        self._rows.add(self._start.point, inside, answer, np.nan)
        standing = Standing(
            iteration=0,
            suggestions=0,
            inside=0,
            aims_reached=0,
            position=tuple(self._law.start.tolist()),
            random=freeze_random(np.random.RandomState(seed)),
            features={},
        )
        _LOG.info("%s starts with seed %d", self._folder.path, seed)
        return self._folder.commit(Manifest({**self._described, "seed": seed}, standing))

    def _check_same(self, manifest: Manifest) -> None:
        for name, value in self._described.items():
            if manifest.law.get(name) != value:
                raise ConfigurationError(
                    f"{self._folder.path} was begun with {name} = {manifest.law.get(name)}, not "
                    f"{value}; give the same, or explore with another particle_id."
                )

    def _walk(self, manifest: Manifest) -> Manifest:
        law, limits = self._law, self._limits
        now = manifest.standing
        random = thaw_random(now.random)
        position = np.array(now.position)
        reached = law.reached(position)
        iteration, drawn = now.iteration, now.suggestions
        inside_points, found, published = now.inside, now.aims_reached, now.aims_reached
        status, reason = self._end(iteration, found)
        saved_at = time.monotonic()

        def standing() -> Standing:
            place, stream = tuple(position.tolist()), freeze_random(random)
            return Standing(iteration, drawn, inside_points, found, place, stream, now.features)

        while status == "running":
            proposal, drawn = law.propose(
                random, position, reached, drawn=drawn, most=limits.max_suggestions
            )
            if proposal is None:
                status, reason = "stalled", law.explain_stall(position, reached, drawn)
                break
            iteration += 1
            point = self._start.parameters(proposal)
            inside, answer = self._ask(point, f"at iteration {iteration}")
            self._rows.add(point, inside, answer, drawn)
            drawn = 0
            if inside:
                inside_points += 1
                position = proposal
                if reached:
                    reached = law.reached(position)
                    found += all(reached)
            # A count that can end nothing waits for the next checkpoint.
            if found > published and (limits.stop_after > 0 or not published):
                self._counter.publish(found)
                published = found
                status, reason = self._end(iteration, found)
            elif iteration >= limits.n_iterations:
                status, reason = self._end(iteration, found)
            if status == "running" and self._is_due(iteration, saved_at):
                if found > published:
                    self._counter.publish(found)
                    published = found
                manifest = self._save(manifest, standing(), status, reason)
                now = manifest.standing
                saved_at = time.monotonic()
                status, reason = self._end(iteration, found)
        if found > published:
            self._counter.publish(found)
        return self._save(manifest, standing(), status, reason)

    def _ask(self, point: np.ndarray, where: str) -> tuple[bool, dict[str, Kept]]:
        series = self._series(point.copy(), index=self._index)
        return ask(self._evaluate, series, left_out=self._left_out, where=where)

    def _end(self, iteration: int, found: int) -> tuple[Status, str]:
        if self._law.aims and self._limits.stop_after > 0:
            total = self._counter.total(found)
            if total >= self._limits.stop_after:
                return "aims_reached", f"{total} points inside have reached all aims."
        if iteration >= self._limits.n_iterations:
            return "completed", f"All {iteration} iterations are done."
        return "running", ""

    def _is_due(self, iteration: int, saved_at: float) -> bool:
        if self._limits.checkpoint_seconds is not None:
            return time.monotonic() - saved_at > self._limits.checkpoint_seconds
        return iteration % self._limits.checkpoint_every == 0

    def _save(
        self, manifest: Manifest, standing: Standing, status: Status, reason: str
    ) -> Manifest:
        known = replace(standing, features=self._rows.kinds(standing.features))
        latest = replace(manifest, standing=known, status=status, reason=reason)
        if not self._rows:
            return manifest if latest == manifest else self._folder.commit(latest)
        columns = self._rows.columns(known.features, known.iteration)
        latest = self._folder.commit(self._folder.add(latest, columns, self._limits.shard_format))
        self._rows.clear()
        _LOG.info("%s: checkpoint at iteration %d", self._folder.path, known.iteration)
        return self._merge_if_due(latest)

    def _merge_if_due(self, manifest: Manifest) -> Manifest:
        waiting = sum(not shard.merged for shard in manifest.shards)
        if waiting < self._limits.concat_every_n_save:
            return manifest
        return self._folder.merge(manifest, self._limits.shard_format)
