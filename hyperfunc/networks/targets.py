"""Target networks: small pure functions of a point, with emitted parameters.

A target network T(x, a; theta) maps a point x (in its window's frame, [-1, 1]^2) and a footprint a
(the pixel pitch, in the same units, per axis) to the channels of an image. A hypernetwork emits one
``theta`` for each window of each image; the ``shared`` parameters are learned and the same for all
windows. Functions here take a single point and a single theta; callers vmap.
"""

import dataclasses
import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hyperfunc.errors import check_range
from hyperfunc.types import Shared, Theta

Point = Float[Array, " 2"]


@jax.custom_jvp
def cosine(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Compute the cosine by a polynomial; the error is 1e-6 for arguments up to 10, 1e-5 up to 100.

    The target networks spend most of their time here, and XLA's cosine does a slow, exact range
    reduction on CPUs.
    """
    turns = x * (0.5 / jnp.pi)
    square = jnp.square(turns - jnp.round(turns))  # In [0, 1/4].
    value = jnp.full_like(square, _COSINE[0])
    for coefficient in _COSINE[1:]:
        value = value * square + coefficient
    return value


@cosine.defjvp
def _cosine_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return cosine(x), -cosine(x - jnp.pi / 2) * dx


_COSINE = tuple(
    (-1) ** k * (2 * math.pi) ** (2 * k) / math.factorial(2 * k) for k in range(9, -1, -1)
)
"""Taylor coefficients of cos(2 pi t) in powers of t squared, highest first."""


@dataclasses.dataclass(frozen=True)
class CosineMLP:
    """The paper's target network: a small MLP with cosine activations.

    Attributes:
        hidden: widths of the hidden layers. The paper has five layers whose widths rise to the
            middle and then fall, but does not state them; these follow two independent
            re-implementations.
        channels: output channels.
        footprint: whether the footprint is a third input, the paper's alpha (Section 4.2). If it
            differs between the axes, the input is the geometric mean.
        normalization: "batch" normalises every hidden layer before its cosine by the statistics
            over a fixed grid of points, so that f(x) does not depend on which other points are
            evaluated. The paper does not state which statistics it uses.
        residual: whether to add the second layer's output to the fourth's, the only pair of equal
            width. The paper has residual connections, and does not state where.
        output: "sigmoid" (the paper) or "linear".
        frequency: gain of the first layer's initial weights, in radians per half window. The paper
            does not state it.
        gain: gain of the last layer's initial weights. At 0 training starts from networks that are
            zero, which suits a linear output over a base. The paper does not state it.
        emitted: indices of the layers that the hypernetwork emits; the others are shared. Empty:
            all.

    Reference: Klocek et al. 2019, Section 3.2 and Figure 4.
    """

    hidden: tuple[int, ...] = (32, 64, 256, 64)
    channels: int = 3
    footprint: bool = False
    normalization: Literal["none", "batch"] = "none"
    residual: bool = True
    output: Literal["sigmoid", "linear"] = "sigmoid"
    frequency: float = 4.0
    gain: float = 1.0
    emitted: tuple[int, ...] = ()

    is_linear = is_fourier_series = False
    """It is neither, in the sense of `TargetProtocol`."""

    def __post_init__(self) -> None:
        check_range(self, "channels", least=1)
        check_range(self, "frequency", "gain", least=0)
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden widths {self.hidden}: give at least one, all positive")
        if any(not 0 <= layer <= len(self.hidden) for layer in self.emitted):
            raise ValueError(
                f"emitted layers {self.emitted}: the layers are 0 to {len(self.hidden)}"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths from the input to the output."""
        return (3 if self.footprint else 2, *self.hidden, self.channels)

    @property
    def last_layer(self) -> str:
        """The layer whose outputs are the channels."""
        return self._names[-1]

    @property
    def depends_on_footprint(self) -> bool:
        """Whether a value depends on the pixel pitch for which it is asked."""
        return self.footprint

    def is_emitted(self, layer: int) -> bool:
        """Whether the hypernetwork emits a layer."""
        return not self.emitted or layer in self.emitted

    def init(self, key: jax.Array) -> tuple[Theta, Shared]:
        """Draw parameters: the mean of theta, and the shared layers."""
        theta, shared = {}, {}
        for layer, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            key, kernel_key, bias_key = jax.random.split(key, 3)
            kernel = jax.random.normal(kernel_key, (fan_in, fan_out))
            if layer == len(self.hidden):
                bias, gain = jnp.zeros(fan_out), self.gain
            else:  # The cosine is flat at zero; random phases give the first gradients a direction.
                bias = jax.random.uniform(bias_key, (fan_out,), minval=-jnp.pi, maxval=jnp.pi)
                gain = self.frequency if layer == 0 else math.sqrt(2.0)
            parameters = {"kernel": kernel * (gain / math.sqrt(fan_in)), "bias": bias}
            if self.normalization == "batch" and layer < len(self.hidden):
                parameters["scale"] = jnp.full(fan_out, gain, jnp.float32)
            (theta if self.is_emitted(layer) else shared)[f"layer_{layer}"] = parameters
        return theta, shared

    def prepare(self, theta: Theta, shared: Shared) -> Theta:
        """Fold the normalisation into kernels and biases, once for each theta."""
        if self.normalization == "none":
            return theta
        ticks = jnp.linspace(-0.875, 0.875, 8)
        grid = jnp.stack(jnp.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
        outputs = [self._inputs(grid, jnp.full_like(grid, 0.5))]
        prepared = {}
        for name in self._names:
            layer = theta.get(name) or shared[name]
            if "scale" in layer:
                values = outputs[-1] @ layer["kernel"]
                gain = layer["scale"] * jax.lax.rsqrt(values.var(axis=0) + 1e-5)
                layer = {
                    "kernel": layer["kernel"] * gain[None],
                    "bias": layer["bias"] - values.mean(axis=0) * gain,
                }
                outputs.append(jax.vmap(self._hidden, (0, None))(outputs, layer))
            prepared[name] = layer
        return prepared

    def apply(
        self, theta: Theta, shared: Shared, coord: Point, footprint: Point
    ) -> Float[Array, " c"]:
        """Evaluate at one point of the window, with parameters from `prepare`."""
        layers = [theta.get(name) or shared[name] for name in self._names]
        outputs = [self._inputs(coord, footprint)]
        for layer in layers[:-1]:
            outputs.append(self._hidden(outputs, layer))
        values = outputs[-1] @ layers[-1]["kernel"] + layers[-1]["bias"]
        return jax.nn.sigmoid(values) if self.output == "sigmoid" else values

    @property
    def _names(self) -> list[str]:
        return [f"layer_{i}" for i in range(len(self.widths) - 1)]

    def _inputs(self, coord: Array, footprint: Array) -> Array:
        if not self.footprint:
            return coord
        alpha = jnp.sqrt(footprint[..., :1] * footprint[..., 1:])
        return jnp.concatenate([coord, alpha], axis=-1)

    def _hidden(self, outputs: list[Array], layer: Theta) -> Array:
        """Compute the next hidden layer from the inputs and all earlier hidden layers."""
        hidden = cosine(outputs[-1] @ layer["kernel"] + layer["bias"])
        if self.residual and len(outputs) == 4 and hidden.shape == outputs[2].shape:
            hidden = hidden + outputs[2]
        return hidden


@dataclasses.dataclass(frozen=True)
class FourierField:
    """A local field: a short Fourier series with emitted coefficients and shared frequencies.

        T(x, a; theta) = Re sum_h theta_h exp(i w_h.x) exp(-kappa sum_axis (w_h,axis a_axis)^2) + c

    It is linear in theta, T = basis(x, a) . theta, so that rendering is a matrix product. The last
    factor is the closed form of averaging over a Gaussian pixel, whose footprint may differ per
    axis. It averages within one field; `FunctionalImage.field_share` treats what changes from field
    to field.

    Attributes:
        frequencies: their number.
        channels: output channels.
        bandwidth: radius of the disc of initial frequencies, in units of pi radians per half
            window.

    Reference: Becker et al. 2025 (Thera), neural heat fields.
    """

    frequencies: int = 32
    channels: int = 3
    bandwidth: float = 6.0

    is_linear = is_fourier_series = depends_on_footprint = True
    """All hold, in the sense of `TargetProtocol`; the fast renderers are written for it."""

    last_layer = "coefficients"
    """The only one."""

    def __post_init__(self) -> None:
        check_range(self, "channels", least=1)
        if self.frequencies < 1 or not 0 < self.bandwidth < math.inf:
            raise ValueError(
                f"{self.frequencies} frequencies within {self.bandwidth} pi: both must be positive"
            )

    @property
    def basis_size(self) -> int:
        """Number of basis functions: a cosine and a sine of each frequency, and a constant."""
        return 2 * self.frequencies + 1

    def init(self, key: jax.Array) -> tuple[Theta, Shared]:
        """Draw frequencies uniformly in the disc.

        Coefficients are zero, and kappa is that of a Gaussian as wide as a pixel.
        """
        radius_key, angle_key = jax.random.split(key)
        count = (self.frequencies,)
        radius = self.bandwidth * jnp.pi * jnp.sqrt(jax.random.uniform(radius_key, count))
        angle = 2 * jnp.pi * jax.random.uniform(angle_key, count)
        theta = {"coefficients": jnp.zeros((self.basis_size, self.channels))}
        shared = {
            "frequencies": jnp.stack([radius * jnp.sin(angle), radius * jnp.cos(angle)], axis=-1),
            "log_kappa": jnp.float32(math.log(math.sqrt(math.log(4.0)) / (2 * math.pi**2))),
        }
        return theta, shared

    def axis_basis(
        self, shared: Shared, axis: int, local: Float[Array, "*n"], footprint: Float[Array, "*#n"]
    ) -> tuple[Float[Array, "*n f"], Float[Array, "*n f"]]:
        """Compute the real and imaginary part of one axis' factor exp(i w x) exp(-kappa (w a)^2).

        The product over the axes is the basis. The last of the f = frequencies + 1 functions is the
        constant.
        """
        omega = jnp.append(shared["frequencies"][:, axis], 0.0)
        kappa = jnp.exp(shared["log_kappa"])
        phase = jnp.multiply.outer(local, omega)
        decay = jnp.exp(-kappa * jnp.square(jnp.multiply.outer(footprint, omega)))
        return jnp.cos(phase) * decay, jnp.sin(phase) * decay

    def basis(
        self, shared: Shared, coord: Float[Array, "*n 2"], footprint: Float[Array, "*#n 2"]
    ) -> Float[Array, "*n d"]:
        """Compute the values of all basis functions: cosines, negated sines, and one."""
        omega, kappa = shared["frequencies"], jnp.exp(shared["log_kappa"])
        # In full precision: products in TF32 or bfloat16 would have phase errors of degrees.
        product = functools.partial(jnp.matmul, precision="highest")
        phase = product(coord, omega.T)
        decay = jnp.exp(-kappa * product(jnp.square(footprint), jnp.square(omega).T))
        one = jnp.ones_like(phase[..., :1])
        return jnp.concatenate([jnp.cos(phase) * decay, -jnp.sin(phase) * decay, one], axis=-1)

    def split_coefficients(
        self, coefficients: Float[Array, "..."], axis: int
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Split coefficients into real and imaginary parts, one for each function of `axis_basis`.

        Along ``axis`` lie those of the cosines, of the negated sines, and the constant.
        """
        ends = (self.frequencies, 2 * self.frequencies)
        cosines, sines, constant = jnp.split(coefficients, ends, axis=axis)
        real = jnp.concatenate([cosines, constant], axis=axis)
        return real, jnp.concatenate([sines, jnp.zeros_like(constant)], axis=axis)

    def prepare(self, theta: Theta, shared: Shared) -> Theta:
        """Return theta as it is: there is nothing to prepare."""
        del shared
        return theta

    def apply(
        self, theta: Theta, shared: Shared, coord: Point, footprint: Point
    ) -> Float[Array, " c"]:
        """Evaluate at one point of the window."""
        return self.basis(shared, coord, footprint) @ theta["coefficients"]


Target = CosineMLP | FourierField
