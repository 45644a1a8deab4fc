"""Kernels as functions of position, and their integrals over the footprints of pixels.

A kernel k(u) is a function on the square |u_y|, |u_x| <= radius, and zero beyond. Lengths are in
*reference pixels*, in practice those of the images that a network is trained on. At a pixel pitch h
a pixel at offset j has the weight

    W_j = integral of k(u) over u in [(j - 1/2) h, (j + 1/2) h], on each axis.

So the correlation of W with an image is that of k with the function that is constant on each pixel.
Where pixels are samples of a cosine of w radians per reference pixel, this differs from k applied
to the cosine by about (w h)^2 / 24 of the integral of |k| for each axis, and by up to three times
as much where k changes within a pixel.

Reference: Klocek et al. 2019, Section 5 ("continuous filters in convolutional neural networks").
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from hyperfunc.errors import check_range
from hyperfunc.networks import CosineMLP, Target
from hyperfunc.types import Theta

Pitch = tuple[float | int, float | int]
"""The distance (y, x) between pixels, in reference pixels; static."""


def footprint_edges(radius: float | int, pitch: float | int) -> Float64[np.ndarray, " edges"]:
    """Find the edges of the pixels that a kernel touches, when it is centred on a pixel."""
    if not 0 < pitch < math.inf:
        raise ValueError(f"a pixel pitch of {pitch}: give a positive number of reference pixels")
    reach = max(math.ceil(radius / pitch - 0.5 - 1e-9), 0)
    return (np.arange(-reach, reach + 2) - 0.5) * pitch


@dataclasses.dataclass(frozen=True)
class FourierKernel:
    """A Fourier series, integrated in closed form.

        k(u) = sum over m, n of c_mn phi_m(u_y) phi_n(u_x)

    The functions phi of one axis are 1, cos(pi h u / radius) and sin(pi h u / radius) for h from 1
    to ``harmonics``. With h harmonics and a radius of h + 1/2 they span, at the reference pitch,
    the ordinary kernels of 2 h + 1 pixels, with as many parameters.

    Attributes:
        radius: half of the kernel's side, in reference pixels.
        harmonics: their number on each axis.
    """

    radius: float | int = 1.5
    harmonics: int = 1

    def __post_init__(self) -> None:
        check_range(self, "harmonics", least=0)
        _check_radius(self.radius)

    @property
    def frequencies(self) -> Float64[np.ndarray, " h"]:
        """Those of the harmonics, in radians per reference pixel."""
        return np.pi * np.arange(1, self.harmonics + 1) / self.radius

    def init(self, key: jax.Array, inputs: int, outputs: int) -> Float[Array, "m m i o"]:
        """Draw coefficients: those of LeCun's initial weights at the reference pitch."""
        taps = len(footprint_edges(self.radius, 1.0)) - 1
        draw = jax.nn.initializers.lecun_normal()
        return self.fit(draw(key, (taps, taps, inputs, outputs)))

    def fit(self, weights: Float[Array, "y x i o"]) -> Float[Array, "m m i o"]:
        """Compute the coefficients whose integrals at the reference pitch are nearest to weights.

        They are equal for 2 * harmonics + 1 pixels on each axis.
        """
        inverse = jnp.asarray(np.linalg.pinv(self._axis_integrals(1.0)), jnp.float32)
        return jnp.einsum("my,nx,yxio->mnio", inverse, inverse, weights, precision="highest")

    def integrate(
        self, coefficients: Float[Array, "m m i o"], pitch: Pitch
    ) -> Float[Array, "y x i o"]:
        """Compute the weights of an odd number of pixels on each axis, exactly."""
        rows, cols = (jnp.asarray(self._axis_integrals(p), jnp.float32) for p in pitch)
        return jnp.einsum("ym,xn,mnio->yxio", rows, cols, coefficients, precision="highest")

    def basis(self, offset: Float[Array, "*n"]) -> Float[Array, "*n m"]:
        """Evaluate the functions phi at offsets within the radius."""
        phase = jnp.multiply.outer(offset, jnp.asarray(self.frequencies, jnp.float32))
        one = jnp.ones_like(offset)[..., None]
        return jnp.concatenate([one, jnp.cos(phase), jnp.sin(phase)], axis=-1)

    def _axis_integrals(self, pitch: float | int) -> Float64[np.ndarray, "taps m"]:
        edges = footprint_edges(self.radius, pitch)
        inside = np.clip(edges, -self.radius, self.radius)[:, None]
        phase, omega = inside * self.frequencies, self.frequencies
        primitives = [inside, np.sin(phase) / omega, -np.cos(phase) / omega]
        return np.diff(np.concatenate(primitives, axis=1), axis=0)


@dataclasses.dataclass(frozen=True)
class NetworkKernel:
    """A small target network, integrated by Gauss-Legendre nodes in each footprint.

        k(u) = sum over channels t of T_t(u / radius; theta) mix_t

    n nodes on each axis are exact for polynomials of degree 2 n - 1, so that the error falls with
    the pitch to the power 2 n where the network is smooth.

    Attributes:
        radius: half of the kernel's side, in reference pixels.
        target: the network; its channels are mixed for each pair of an input and an output channel.
        nodes: their number in a footprint, on each axis.
    """

    radius: float | int = 1.5
    target: Target = CosineMLP((16, 16), channels=16, output="linear", frequency=6.0)
    nodes: int = 4

    def __post_init__(self) -> None:
        check_range(self, "nodes", least=1)
        _check_radius(self.radius)

    def init(self, key: jax.Array, inputs: int, outputs: int) -> Theta:
        """Draw parameters, for weights of a variance near 1 / (pixels * inputs)."""
        target_key, mix_key = jax.random.split(key)
        theta, shared = self.target.init(target_key)
        scale = 1 / (2 * self.radius * math.sqrt(self.target.channels * inputs))
        mix = scale * jax.random.normal(mix_key, (self.target.channels, inputs, outputs))
        return {"theta": theta, "shared": shared, "mix": mix}

    def integrate(self, parameters: Theta, pitch: Pitch) -> Float[Array, "y x i o"]:
        """Compute the weights of an odd number of pixels on each axis."""
        (rows, row_weights), (cols, col_weights) = (self._axis_nodes(p) for p in pitch)
        shared = parameters["shared"]
        theta = self.target.prepare(parameters["theta"], shared)

        def at_point(y: Array, x: Array) -> Array:
            return self.target.apply(theta, shared, jnp.stack([y, x]) / self.radius, jnp.zeros(2))

        over_cols = jax.vmap(at_point, (None, 0))
        values = jax.vmap(over_cols, (0, None))(rows.reshape(-1), cols.reshape(-1))
        values = values.reshape(*rows.shape, *cols.shape, -1)
        return jnp.einsum(
            "yaxbt,ya,xb,tio->yxio",
            *(values, row_weights, col_weights, parameters["mix"]),
            precision="highest",
        )

    def _axis_nodes(
        self, pitch: float | int
    ) -> tuple[Float[Array, "taps q"], Float[Array, "taps q"]]:
        edges = np.clip(footprint_edges(self.radius, pitch), -self.radius, self.radius)
        nodes, weights = np.polynomial.legendre.leggauss(self.nodes)
        half = np.diff(edges)[:, None] / 2
        points = (edges[1:] + edges[:-1])[:, None] / 2 + half * nodes
        return jnp.asarray(points, jnp.float32), jnp.asarray(half * weights, jnp.float32)


Kernel = FourierKernel | NetworkKernel


def _check_radius(radius: float | int) -> None:
    if not 0 < radius < math.inf:
        raise ValueError(f"a kernel of radius {radius}: give a positive number of reference pixels")
