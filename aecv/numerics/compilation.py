"""How every kernel is compiled."""

from numba import njit

# No "nnan"/"ninf": NaN must survive to be noticed. Contracting and reassociating sums lets loops vectorise.
jit = njit(
    cache=True,
    fastmath={"contract", "reassoc", "arcp", "nsz"},
    error_model="numpy",
)
