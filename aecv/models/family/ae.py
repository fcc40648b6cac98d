"""The autoencoder: L = sum_i w_i |x_i - dec(enc(x_i))|^2."""

from aecv.models.networks.squared_error import SquaredError


class Autoencoder(SquaredError):
    """A squared error of what goes in; see `Model`."""


MODEL = Autoencoder
