#!/usr/bin/env bash
# The randomised simulation (tests/simulation.h) for many seeds, side by side. WP_SIM_SEEDS says how
# many, WP_SIM_FIRST from which on. A failure names its seed and how to run that again.
. "$(dirname "$0")/lib.sh"
exec "$build/soak" run "${WP_SIM_SEEDS:-2000}" "${WP_SIM_FIRST:-1}"
