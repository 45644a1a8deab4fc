"""Contracts of all components; to test a new one, name it in its union."""

import dataclasses
import json
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hyperfunc.data import Degradation, Reconstruction, SuperResolution, Task
from hyperfunc.experiment import Experiment, to_dict
from hyperfunc.experiment.config import from_dict
from hyperfunc.function import (
    batch_statistics,
    encode,
    predict,
    render,
    render_phases,
    sample,
)
from hyperfunc.networks import (
    EDSR,
    RDN,
    SRCNN,
    TRAINING,
    Backbone,
    CosineMLP,
    DenseTrunk,
    DnCNN,
    FixedScale,
    FourierField,
    HalfEDSR,
    Hypernetwork,
    InceptionTrunk,
    ModelProtocol,
    PatchHypernetwork,
    PixelHypernetwork,
    RDNUpscaler,
    Target,
    VapSR,
)
from hyperfunc.networks.protocols import BackboneProtocol, TargetProtocol
from hyperfunc.pixels import WindowLayout, pixel_centres

# Settings that make components small and switch on everything that is off by default.
SMALL = {
    EDSR: EDSR(width=4, blocks=1, attention=True, fusion=True),
    HalfEDSR: HalfEDSR(width=4, blocks=1, fine_width=3, fine_blocks=1),
    RDN: RDN(width=4, blocks=2, layers=2, growth=3),
    VapSR: VapSR(width=4, attention_width=6, blocks=1),
    InceptionTrunk: InceptionTrunk(stem_width=2, width=4),
    DenseTrunk: DenseTrunk(width=6),
    CosineMLP: CosineMLP((4, 5, 6, 5), footprint=True, normalization="batch", emitted=(0, 2, 4)),
    FourierField: FourierField(frequencies=3),
    PixelHypernetwork: PixelHypernetwork(
        EDSR(width=4, blocks=1, attention=True, fusion=True), FourierField(frequencies=3)
    ),
    PatchHypernetwork: PatchHypernetwork(
        EDSR(width=4, blocks=1, attention=True, fusion=True),
        CosineMLP((4, 5, 6, 5), footprint=True, normalization="batch", emitted=(0, 2, 4)),
        WindowLayout(size=4, stride=2, overhang=0.0),
        branch_width=4,
        branch_convs=1,
        pool=1,
        code=3,
    ),
    SRCNN: SRCNN(widths=(4, 5), sizes=(5, 3, 3)),
    RDNUpscaler: RDNUpscaler(RDN(width=4, blocks=1, layers=2, growth=3), scale=4),
    DnCNN: DnCNN(depth=4, width=5),
    SuperResolution: SuperResolution(
        scales=(2, 3),
        crop=8,
        shrink=1.5,
        permute_colors=0.5,
        noise=0.5,
        degradation=Degradation(blur=1.0, noise=1.0, jpeg=0.5, jpeg_again=0.5),
    ),
    Reconstruction: Reconstruction(size=16),
}


KEEPS_RESOLUTION = InceptionTrunk(stem_width=2, width=4, blocks=2, pool=False)


@dataclasses.dataclass(frozen=True)
class Plane(CosineMLP):
    """A target network without a fast renderer."""

    def init(self, key):
        return {"slopes": 0.1 * jax.random.normal(key, (3, self.channels))}, {}

    def prepare(self, theta, shared):
        return theta

    def apply(self, theta, shared, coord, footprint):
        return jnp.append(coord, 1.0) @ theta["slopes"]


def members(union) -> list:
    return [SMALL.get(kind) or kind() for kind in typing.get_args(union)]


def name_of(component) -> str:
    return type(component).__name__


def models() -> list:
    """Return every hypernetwork, and one for every backbone and every target network."""
    found = members(Hypernetwork)
    patches = SMALL[PatchHypernetwork]
    small = patches.clone(target=SMALL[FourierField])
    found += [small.clone(backbone=backbone) for backbone in members(Backbone)]
    found.append(patches.clone(backbone=KEEPS_RESOLUTION, sliding=True))
    for target in members(Target):
        found += [patches.clone(target=target), SMALL[PixelHypernetwork].clone(target=target)]
    return list(dict.fromkeys(found))


def describe(model) -> str:
    return f"{name_of(model)}-{name_of(model.backbone)}-{name_of(model.target)}"


IMAGES = np.random.default_rng(0).uniform(size=(2, 8, 6, 3)).astype(np.float32)
"""They are not square, so that swapped axes are noticed."""


@pytest.mark.parametrize(
    ("union", "protocol"),
    [
        (Backbone, BackboneProtocol),
        (Target, TargetProtocol),
        (Hypernetwork, ModelProtocol),
        (FixedScale, ModelProtocol),
    ],
)
def test_components_offer_what_their_protocol_states(union, protocol):
    stated = {name for name in (*vars(protocol), *protocol.__annotations__) if name[0] != "_"}
    assert stated
    for kind in typing.get_args(union):
        offered = {*dir(kind), *getattr(kind, "__annotations__", {})}
        assert stated <= offered, f"{kind.__name__} lacks {sorted(stated - offered)}"


@pytest.mark.parametrize("backbone", members(Backbone), ids=name_of)
def test_backbone(backbone):
    features, variables = jax.jit(backbone.init_with_output)(jax.random.key(0), IMAGES)
    assert features.ndim == 4 and features.shape[0] == 2 and features.shape[-1] == backbone.width
    assert features.dtype == backbone.dtype and np.isfinite(features).all()
    # In half precision the same parameters give nearly the same features.
    half = backbone.clone(dtype="bfloat16")
    in_half = jax.jit(half.apply)(variables, IMAGES)
    assert in_half.dtype == jnp.bfloat16
    scale = np.abs(features).max()
    np.testing.assert_allclose(np.asarray(in_half, np.float32), features, atol=0.05 * scale)


@pytest.mark.parametrize("backbone", [*members(Backbone), KEEPS_RESOLUTION], ids=name_of)
def test_backbone_on_padding(backbone):
    """With a mask, padding changes nothing; a backbone that cannot use a mask refuses it."""
    variables = jax.jit(backbone.init)(jax.random.key(0), IMAGES)
    padded = np.pad(IMAGES, ((0, 0), (0, 3), (0, 2), (0, 0)), constant_values=0.7)
    mask = np.pad(np.ones((1, 8, 6, 1), np.float32), ((0, 0), (0, 3), (0, 2), (0, 0)))
    if backbone.receptive_radius is None:
        with pytest.raises(ValueError, match=name_of(backbone)):
            backbone.apply(variables, jnp.asarray(padded), mask=jnp.asarray(mask))
        return
    features = jax.jit(backbone.apply)(variables, padded, mask=mask)
    expected = jax.jit(backbone.apply)(variables, IMAGES)
    np.testing.assert_allclose(features[:, :8, :6], expected, atol=1e-6)


@pytest.mark.parametrize(
    "backbone",
    [x for x in [*members(Backbone), KEEPS_RESOLUTION] if x.receptive_radius is not None],
    ids=name_of,
)
def test_backbone_receptive_radius(backbone):
    """A change of a pixel reaches exactly so far. A tile's halo is as wide."""
    radius = backbone.receptive_radius
    side = 2 * radius + 5
    image = np.random.default_rng(0).uniform(size=(1, side, side, 3)).astype(np.float32)
    changed = image.copy()
    changed[0, side // 2, side // 2] += 1
    variables = jax.jit(backbone.init)(jax.random.key(0), image)
    apply = jax.jit(backbone.apply)
    difference = np.abs(apply(variables, image) - apply(variables, changed)).max(axis=(0, 3))
    rows, cols = np.nonzero(difference)
    reach = max(np.abs(rows - side // 2).max(), np.abs(cols - side // 2).max())
    assert reach <= radius
    assert reach >= radius - 1  # A ReLU may hide the last pixel.


@pytest.mark.parametrize("target", members(Target), ids=name_of)
def test_target(target):
    theta, shared = jax.jit(target.init)(jax.random.key(0))
    again, _ = jax.jit(target.init)(jax.random.key(0))
    assert all(map(np.array_equal, jax.tree.leaves(theta), jax.tree.leaves(again)))

    @jax.jit
    def evaluate(theta, shared, coord):
        return target.apply(target.prepare(theta, shared), shared, coord, jnp.full(2, 0.5))

    value = evaluate(theta, shared, jnp.array([0.1, -0.3]))
    assert value.shape == (target.channels,) and np.isfinite(value).all()
    twice = jax.tree.map(lambda leaf: 2 * leaf + 1, theta)
    thrice = jax.tree.map(lambda leaf: 3 * leaf + 2, theta)
    values = [evaluate(x, shared, jnp.array([0.1, -0.3])) for x in (theta, twice, thrice)]
    is_linear = np.allclose(values[2] - values[1], values[1] - values[0], atol=1e-5)
    assert is_linear == target.is_linear  # The fast renderers rely on it.
    assert target.is_linear or not target.is_fourier_series


@pytest.mark.parametrize("target", [*members(Target), Plane()], ids=name_of)
def test_target_at_any_scale(target):
    """Renderings equal samples at the pixel centres, at integer and other scales."""
    model = SMALL[PixelHypernetwork].clone(target=target)
    variables = jax.jit(model.init)(jax.random.key(0), IMAGES)
    function, _ = jax.jit(lambda v, x: encode(model, v, x))(variables, IMAGES)
    theta = jax.tree.map(lambda leaf: leaf + 0.01, function.theta)
    function = function.replace(theta=theta)
    for size in ((16, 12), (13, 11)):
        points = pixel_centres(size)
        footprint = tuple(np.divide(IMAGES.shape[1:3], size).tolist())
        expected, rendered = jax.jit(
            lambda f, points=points, footprint=footprint, size=size: (
                sample(f, points, footprint=footprint),
                render(f, size),
            )
        )(function)
        np.testing.assert_allclose(rendered, expected, atol=1e-4)


@pytest.mark.parametrize("model", models(), ids=describe)
def test_hypernetwork_trains_all_of_its_parameters(model):
    """The gradient of a training loss is finite, and not zero for any parameter."""
    variables = jax.jit(model.init)(jax.random.key(0), IMAGES)
    target = np.random.default_rng(1).uniform(size=(2, 16, 12, 3)).astype(np.float32)

    def loss(params, images, target, phase):
        # Initial coefficients may be zero, which would make gradients zero.
        params = jax.tree.map(lambda leaf: leaf + 0.01, params)
        function, stats = encode(model, {**variables, "params": params}, images, mode=TRAINING)
        predicted = render_phases(function, 2, phase=phase)
        return jnp.square(predicted - target).mean(), stats

    phase = np.array([0.4, -0.7], np.float32)
    (value, stats), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(
        variables["params"], IMAGES, target, phase
    )
    assert np.isfinite(value)
    assert jax.tree.structure(stats) == jax.tree.structure(variables.get("batch_stats", {}))
    gradients = jax.tree_util.tree_leaves_with_path(gradient)
    for path, leaf in gradients:
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
    still = [jax.tree_util.keystr(path) for path, leaf in gradients if not np.any(leaf)]
    assert not still, f"no gradient for {still}"


@pytest.mark.parametrize("model", members(FixedScale), ids=name_of)
def test_a_network_for_one_scale(model):
    """The network enlarges by its scale, and a loss has a gradient for each parameter."""
    variables = jax.jit(model.init)(jax.random.key(0), IMAGES)
    statistics = variables.get("batch_stats", {})
    size = (2, 8 * model.scale, 6 * model.scale, 3)
    target = np.random.default_rng(1).uniform(size=size).astype(np.float32)

    def loss(params, images, target):
        predicted = predict(
            model, {**variables, "params": params}, images, target.shape[1:3], mode=TRAINING
        )
        assert predicted.shape == target.shape and predicted.dtype == jnp.float32
        return jnp.square(predicted - target).mean()

    updated = jax.jit(lambda v, x: batch_statistics(model, v, x))(variables, IMAGES)
    assert jax.tree.structure(updated) == jax.tree.structure(statistics)
    gradient = jax.jit(jax.grad(loss))(variables["params"], IMAGES, target)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all() and np.any(leaf), jax.tree_util.keystr(path)


@pytest.mark.parametrize("task", members(Task), ids=name_of)
def test_task(task, draw):
    rng = np.random.default_rng(0)
    setting = task.draw_setting(np.random.default_rng(1))
    example = task.make_example(draw(0, (80, 70)), setting, rng)
    size = task.observed_size
    assert set(example) == {"observed", "target", "phase"}
    assert example["observed"].shape == (*size, 3)
    assert example["observed"].dtype == task.observed_dtype
    target = (size[0] * setting.scale, size[1] * setting.scale, 3)
    assert example["target"].shape == target and example["target"].dtype == np.uint8
    assert example["phase"].shape == (2,) and example["phase"].dtype == np.float32
    # Equal random numbers give equal examples.
    again = task.make_example(draw(0, (80, 70)), setting, np.random.default_rng(0))
    assert all(np.array_equal(example[name], again[name]) for name in example)


def experiments() -> list[Experiment]:
    found = [Experiment(model=model) for model in models()]
    for model in members(FixedScale):
        task = SuperResolution(scales=(model.scale,), protocol_phase=1.0)
        found.append(Experiment(model=model, task=task))
    return found + [Experiment(task=task) for task in members(Task)]


def describe_experiment(experiment) -> str:
    model = experiment.model
    described = name_of(model) if model.fixed_scale else describe(model)
    return f"{described}-{name_of(experiment.task)}"


@pytest.mark.parametrize("experiment", experiments(), ids=describe_experiment)
def test_component_round_trips_through_json(experiment):
    restored = from_dict(json.loads(json.dumps(to_dict(experiment))))
    assert restored == experiment
    assert hash(restored) == hash(experiment)
    assert type(restored.model) is type(experiment.model)
    parts = [getattr(e.model, "backbone", None) for e in (restored, experiment)]
    assert type(parts[0]) is type(parts[1])
    # Another setting makes another experiment.
    task = restored.task
    changed = {"crop": task.crop + 1} if hasattr(task, "crop") else {"size": task.size + 1}
    assert dataclasses.replace(restored, task=dataclasses.replace(task, **changed)) != experiment
