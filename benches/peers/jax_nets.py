"""Whole networks in JAX on the CPU, compiled: the better of the layouts NCHW and NHWC.

Needs `pip install jax`.
"""

import os

import nets

ARGS = nets.arguments(__doc__)  # before JAX counts the processors for its threads
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import numpy  # noqa: E402
from jax import lax  # noqa: E402
from jax import numpy as jnp  # noqa: E402

LAYOUTS = (("NCHW", "OIHW", "NCHW"), ("NHWC", "HWIO", "NHWC"))


def initial(layers, layout):
    """Weights and biases of every layer that has them."""
    random, params = numpy.random.default_rng(0), []
    for kind, *sizes in layers:
        if kind == "conv":
            inputs, outputs, side, _ = sizes
            weight = random.standard_normal((outputs, inputs, side, side)) * (2 / (inputs * side * side)) ** 0.5
            weight = weight if layout[1] == "OIHW" else weight.transpose(2, 3, 1, 0)
        elif kind == "dense":
            inputs, outputs = sizes
            weight = random.standard_normal((inputs, outputs)) * (2 / inputs) ** 0.5
        else:
            continue
        params.append((jnp.asarray(weight, jnp.float32), jnp.zeros(outputs, jnp.float32)))
    return params


def forward(layers, layout, params, x, key=None):
    """The logits; with dropout if there is a key."""
    last, params = layout[0] == "NHWC", iter(params)
    for index, (kind, *sizes) in enumerate(layers):
        if kind == "conv":
            weight, bias = next(params)
            x = lax.conv_general_dilated(x, weight, (1, 1), [(sizes[3],) * 2] * 2, dimension_numbers=layout)
            x += bias if last else bias[:, None, None]
        elif kind == "pool":
            window = (1, *sizes * 2, 1) if last else (1, 1, *sizes * 2)
            x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
        elif kind == "dense":
            weight, bias = next(params)
            x = x @ weight + bias
        elif kind == "dropout" and key is not None:
            keep = jax.random.bernoulli(jax.random.fold_in(key, index), 1 - sizes[0], x.shape)
            x = jnp.where(keep, x / (1 - sizes[0]), 0)
        elif kind == "flatten":
            x = x.reshape(x.shape[0], -1)
        elif kind in ("relu", "sigmoid"):
            x = getattr(jax.nn, kind)(x)
    return x


def ways(layers, batch):
    """Training steps and inference in each layout: (figure, way, function)."""
    labels = jnp.arange(batch) % nets.CLASSES
    for layout in LAYOUTS:
        shape = (batch, 1, 28, 28) if layout[0] == "NCHW" else (batch, 28, 28, 1)
        images = jnp.asarray(numpy.random.default_rng(0).random(shape, dtype=numpy.float32))

        def cost(params, key):
            chosen = jax.nn.log_softmax(forward(layers, layout, params, images, key))[jnp.arange(batch), labels]
            return -chosen.mean()

        def update(params, velocity, number):
            grads = jax.grad(cost)(params, jax.random.fold_in(jax.random.key(0), number))
            velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, grads)
            return jax.tree.map(lambda p, v: p - 0.01 * v, params, velocity), velocity, number + 1

        params = initial(layers, layout)
        state = [jax.tree.map(jnp.copy, params), jax.tree.map(jnp.zeros_like, params), jnp.int32(0)]
        compiled = jax.jit(update, donate_argnums=(0, 1, 2))

        def step():
            state[:] = compiled(*state)
            jax.block_until_ready(state)

        yield "train", layout[0], step
        infer = jax.jit(lambda params, x: forward(layers, layout, params, x))
        for figure, x in (("infer", images), ("single", images[:1])):
            yield figure, layout[0], lambda: infer(params, x).block_until_ready()


def main():
    nets.measure(f"jax {jax.__version__}", ARGS, ways)


if __name__ == "__main__":
    main()
