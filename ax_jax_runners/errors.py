"""One tree of errors. Each message says what was found, where, and what to do.

Where a built-in type is the natural one to catch (a bad value, a wrong type, a missing name), the
error derives from it as well, so that ``except ValueError`` keeps working.
"""

from __future__ import annotations


class AxJaxError(Exception):
    """Base of every error that this package raises on purpose."""


class ParameterError(AxJaxError, ValueError):
    """A parameter, prior, bound or constraint that cannot be used."""


class MissingParameter(ParameterError, KeyError):
    """A parameter or initial value that is needed and was not given."""

    # A KeyError shows its argument quoted, as if it were a key.
    __str__ = Exception.__str__


class EvaluationError(AxJaxError):
    """A simulator or one of its outputs that cannot be evaluated."""


class InvalidTheta(EvaluationError, ValueError):
    """A parameter vector or batch of the wrong shape, or a probability outside [0, 1]."""


class InvalidFeatures(EvaluationError, TypeError):
    """A simulator that returned something other than finite-typed arrays of the expected shape."""


class VolumeNotEstimated(EvaluationError, ArithmeticError):
    """The volume of a region that was not reached, by what its violation told of the way."""


class FeaturesNotConfigured(EvaluationError, RuntimeError):
    """Features were asked of an evaluator that has no function, or does not return that name."""


class ResultNotStorable(AxJaxError, TypeError):
    """A value that has no exact place in JSON, npz or SQL."""


class TaskNotBound(AxJaxError, RuntimeError):
    """A stored runner whose task was not given again, so it cannot run."""


class TaskChanged(AxJaxError, ValueError):
    """A task whose computation differs from the one that the campaign was started with."""


class ConfigurationError(AxJaxError, ValueError):
    """A campaign file, option or argument that cannot be used."""


class InvalidFingerprint(ConfigurationError, AssertionError):
    """The settings of a run that contradict each other."""


class UnknownLoadMethod(ConfigurationError, NotImplementedError):
    """A way to choose among stored results that does not exist."""


class DataFileError(AxJaxError, ValueError):
    """A measured file that is missing or cannot be read."""


class DataFileMissing(DataFileError, FileNotFoundError):
    """A file of results that is not there."""


class StoreError(AxJaxError):
    """Base of everything that goes wrong between a campaign and its database or files."""


class StoreUnavailable(StoreError, ConnectionError):
    """The database cannot be reached, opened or written."""


class StoreReadOnly(StoreUnavailable):
    """The database can be read but not written."""


class StoreFull(StoreUnavailable):
    """The disk or the database's own size limit is exhausted; the last good state is intact."""


class SchemaTooNew(StoreError):
    """The database was written by a newer version of this package."""


class LeaseHeld(StoreError):
    """Another live process owns the campaign."""


class LeaseLost(StoreError):
    """Another process took the campaign over; this one must not write any more."""


class CampaignNotFound(StoreError, LookupError):
    """No campaign of that name in the database."""


class CampaignExists(StoreError, ValueError):
    """The name is taken by a campaign with another configuration."""


class ArtifactCorrupt(StoreError):
    """A stored file whose content does not have its recorded digest."""


class ArtifactExists(StoreError, ValueError):
    """A version, or a digest, that the artifact registry has already."""


class ArtifactNotFound(StoreError, LookupError):
    """Nothing of that name, version or digest in the artifact registry."""


class SeedPointOutside(AxJaxError, ValueError):
    """A seed point at which a walk cannot begin, because it is not compatible itself."""


class CampaignError(AxJaxError):
    """A campaign that cannot go on."""


class NoFeasibleArm(CampaignError, LookupError):
    """No completed arm satisfies the outcome constraints."""


class UnknownMetric(ConfigurationError, KeyError):
    """A metric, or a window of it, that nothing recorded has."""

    # A KeyError shows its argument quoted, as if it were a key.
    __str__ = Exception.__str__
