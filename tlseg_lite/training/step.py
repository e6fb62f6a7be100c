"""One step of the optimizer, on one process or several, in as few pieces as memory allows."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from tlseg_lite.core.precision import float32_products
from tlseg_lite.core.progress import say
from tlseg_lite.core.seeding import seeded
from tlseg_lite.training.clicks import SHARE, check_clicks, rounds
from tlseg_lite.training.losses import bce_dice
from tlseg_lite.training.memory import is_out_of_memory, smaller, too_small
from tlseg_lite.training.recipe import Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator

    from tlseg_lite.training.weight_averaging import MovingAverage


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to zero, at 0-based `step` of `steps`."""
    warm = int(recipe.warmup * steps)
    if step < warm:
        return recipe.learning_rate * (step + 1) / (warm + 1)
    done = (step - warm) / max(1, steps - warm)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


@contextmanager
def use_options(model: torch.nn.Module, recipe: Recipe, device: torch.device) -> Iterator[None]:
    """What the recipe asks of the device and of SAM's encoder, inside.

    On CUDA, float32 is float32 with ``precision="no"``; beside float16 and bfloat16, which keep
    fewer bits, the float32 that is left (adapters, loss) is multiplied as TF32. Networks other
    than SAM's have no encoder options.
    """
    options = getattr(model, "encoder_options", None)
    if options is not None:
        model.encoder_options = replace(
            options,
            checkpoint=options.checkpoint or recipe.checkpointing,
            compile=options.compile or recipe.compile,
        )
    try:
        with float32_products(device, exact=recipe.precision == "no"):
            yield
    finally:
        if options is not None:
            model.encoder_options = options


def optimizer_for(model: torch.nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over what trains; on CUDA in one kernel, which also spares GradScaler its wait."""
    trained = [p for p in model.parameters() if p.requires_grad]
    fused = True if trained and all(p.device.type == "cuda" for p in trained) else None
    return torch.optim.AdamW(
        trained, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=fused
    )


_OFF = ("", "0", "false", "off", "no")
_REFUSED = {
    "ACCELERATE_FP8_BACKEND": _OFF,
    "ACCELERATE_USE_DEEPSPEED": _OFF,
    "ACCELERATE_USE_FSDP": _OFF,
    "ACCELERATE_USE_MEGATRON_LM": _OFF,
    "ACCELERATE_USE_PARALLELISM_CONFIG": _OFF,
    "ACCELERATE_USE_SAGEMAKER": _OFF,
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": _OFF,  # precision of matrix products, on CUDA
    "NVIDIA_TF32_OVERRIDE": ("", "1"),
    "ONEDNN_DEFAULT_FPMATH_MODE": ("", "strict"),  # and on the CPU
    "DNNL_DEFAULT_FPMATH_MODE": ("", "strict"),
}
"""Variables that Accelerate, PyTorch and their libraries read and that cannot be overruled: with
other values than these a training would give something else."""


def check_environment() -> None:
    """ValueError for an environment variable that would change the result of a training."""
    for name, harmless in _REFUSED.items():
        value = os.environ.get(name, "")
        if value.lower() not in harmless:
            raise ValueError(
                f"the environment has {name}={value}, which would change the result without the "
                f"recipe saying so; unset it (in Python: os.environ.pop({name!r}), before "
                "torch is imported)"
            )


def accelerator_for(recipe: Recipe) -> Accelerator:
    """Accelerate's view of the machine: device, processes, and the recipe's precision.

    The environment may choose the device (``ACCELERATE_USE_CPU``, ``ACCELERATE_TORCH_DEVICE``) and
    the processes, as ``accelerate launch`` does; whatever else it says does not count.

    Raises:
        ValueError: see `check_environment`.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import GradientAccumulationPlugin, TorchDynamoPlugin

    check_environment()
    # Accelerate keeps the first precision of a process for good; a notebook may well use two.
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != recipe.precision:
        AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=recipe.precision,
        # given, or else ACCELERATE_GRADIENT_ACCUMULATION_STEPS and ACCELERATE_DYNAMO_* are read
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        dynamo_plugin=TorchDynamoPlugin(backend="no"),
    )


def diverging(loss: float, recipe: Recipe) -> FloatingPointError:
    """The error for a loss that is no finite number, with remedies."""
    return FloatingPointError(
        f"the loss is {loss}; lower learning_rate (now {recipe.learning_rate}) "
        f"or use precision='no' (now {recipe.precision!r})"
    )


class TrainingStep:
    """Forward, loss, backward and AdamW's step for one batch, the same for any division of it.

    The loss of a batch is the mean of its images' losses, and each image's loss depends on that
    image alone. So a batch may be cut into pieces, on one process (when memory is short) and among
    processes: the gradients are added up, weighted by images, before the optimizer's step.

    Where a piece does not fit into memory, the step is begun anew with pieces of half the size, on
    all processes; that is said, and stays so for the following steps.

    Attributes:
        micro_batch: images that go through the model at once on each process.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        accelerator: Accelerator,
        micro_batch: int | None = None,
    ):
        check_clicks(model, recipe.clicks)
        self.model, self.optimizer, self.recipe = model, optimizer, recipe
        self.accelerator = accelerator
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        share = math.ceil(recipe.batch_size / accelerator.num_processes)
        self.micro_batch = min(micro_batch or share, recipe.micro_batch or share, share)
        self._reason = "another process ran out of memory"
        self._statistics = [
            buffer
            for module in model.modules()
            if isinstance(module, torch.nn.modules.batchnorm._NormBase)
            for buffer in module.buffers(recurse=False)
        ]

    def __call__(self, batch: dict[str, Any] | None, images: int, seed: int) -> torch.Tensor:
        """Train on this process's share of a batch of `images` images.

        Args:
            batch: ``image``, ``mask`` and ``valid``, (b, ., S, S) on the device; None for none.
            images: in the batch on all processes together.
            seed: of dropout; the same when the step is begun anew.

        Returns:
            the sum of the losses of this process's images, a scalar without gradient.

        Raises:
            NotEnoughMemory: not even one image at a time fits.
            FloatingPointError: the loss is no longer a finite number. A single process on a GPU
                does not wait for it: the sum is NaN then, and the caller is to look now and then.
        """
        statistics = [buffer.clone() for buffer in self._statistics]
        while True:
            total = self._attempt(batch, images, seed)
            failed, diverged, *trained = self._agree(total)
            if not failed:
                break
            for buffer, before in zip(self._statistics, statistics, strict=True):
                buffer.copy_(before)
            self._take_smaller_pieces()
        if diverged:
            raise diverging(total.item() / max(images, 1), self.recipe)
        self._add_up_gradients(trained)
        if self.recipe.clip:
            self.accelerator.clip_grad_norm_(self.parameters, self.recipe.clip)
        self.optimizer.step()
        return total

    def _attempt(self, batch, images: int, seed: int) -> torch.Tensor | None:
        """Gradients of this process's share, and the sum of its losses; None: out of memory."""
        from accelerate.utils import release_memory

        self.optimizer.zero_grad(set_to_none=True)
        try:
            with seeded(seed, self.accelerator.device):
                return self._accumulate(batch, images, seed)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._reason = str(error).partition("\n")[0]
        self.optimizer.zero_grad(set_to_none=True)
        release_memory()
        return None

    def _accumulate(self, batch, images: int, seed: int) -> torch.Tensor:
        total = torch.zeros((), device=self.accelerator.device)
        here = 0 if batch is None else len(batch["image"])
        for start in range(0, here, self.micro_batch):
            image, mask, valid = (
                batch[key][start : start + self.micro_batch] for key in ("image", "mask", "valid")
            )
            loss = self._loss(image, mask, valid, seed)
            total += loss.detach() * len(image)
            self.accelerator.backward(loss * (len(image) / images))
        return total

    def _loss(self, image, mask, valid, seed: int) -> torch.Tensor:
        """The mean loss of some images: of the answer without prompts, and of those with clicks."""
        model, recipe = self.model, self.recipe
        if not recipe.clicks:
            with self.accelerator.autocast():
                logits = model(image)
            return bce_dice(logits, mask, valid, dice_weight=recipe.dice_weight)
        with self.accelerator.autocast():
            embedding = model.encode(image)
            first = model.decode(embedding)
            found = dict(mask=mask, valid=valid, clicks=recipe.clicks, seed=seed)
            answers = [first, *rounds(model, embedding, first, **found)]
            answers = [model.enlarged(answer) for answer in answers]
        losses = [bce_dice(a, mask, valid, dice_weight=recipe.dice_weight) for a in answers]
        return (1 - SHARE) * losses[0] + SHARE * sum(losses[1:]) / recipe.clicks

    def _agree(self, total: torch.Tensor | None) -> list[float]:
        """How many processes ran out of memory, diverged, and have a gradient of each tensor."""
        failed, alone = total is None, self.accelerator.num_processes == 1
        if alone and (failed or self.accelerator.device.type != "cpu"):
            return [float(failed), 0.0]  # to ask for the loss here would wait for the GPU
        flags = [float(failed), float(not failed and not torch.isfinite(total))]
        if alone:
            return flags
        flags += [float(p.grad is not None) for p in self.parameters]
        flags = torch.tensor(flags, device=self.accelerator.device)
        return self.accelerator.reduce(flags, "sum").tolist()

    def _take_smaller_pieces(self) -> None:
        device = self.accelerator.device
        if self.micro_batch == 1:
            size, precision = self.model.image_size, self.recipe.precision
            raise too_small(device, size, precision, self._reason)
        tried, self.micro_batch = self.micro_batch, self.micro_batch // 2
        if self.accelerator.is_main_process:
            batch, inexact = self.recipe.batch_size, bool(self._statistics)
            say(smaller(device, tried, self.micro_batch, batch, inexact))

    def _add_up_gradients(self, trained: list[float]) -> None:
        """The sum over the processes; a tensor without a gradient on all of them is left out."""
        if self.accelerator.num_processes == 1:
            return
        used = [p for p, count in zip(self.parameters, trained, strict=True) if count]
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in used]
        summed = self.accelerator.reduce(torch.cat([g.flatten() for g in own]), "sum")
        parts = summed.split([g.numel() for g in own])
        for parameter, part in zip(used, parts, strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def share_statistics(self, average: MovingAverage) -> None:
        """Average the statistics of batch normalisation over the processes, also in `average`."""
        if self.accelerator.num_processes > 1:
            trained = {name for name, _ in self.model.named_parameters()}
            averaged = [v for k, v in average.tensors().items() if k not in trained]
            for buffer in [*self._statistics, *averaged]:
                if buffer.is_floating_point():
                    buffer.copy_(self.accelerator.reduce(buffer.clone(), "mean"))
