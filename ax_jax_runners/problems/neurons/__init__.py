"""Single neurons whose spikes are measured while they are simulated."""

from ax_jax_runners.problems.neurons.fitzhugh_nagumo import FitzHughNagumo
from ax_jax_runners.problems.neurons.hodgkin_huxley import HodgkinHuxley
from ax_jax_runners.problems.neurons.izhikevich import FIRING_CLASSES, Izhikevich

__all__ = ["FIRING_CLASSES", "FitzHughNagumo", "HodgkinHuxley", "Izhikevich"]
