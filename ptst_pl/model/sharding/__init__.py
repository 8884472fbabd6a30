"""Weights shared out over ranks (FSDP2): sharding, gathering, gradients, checkpoints; and activation checkpointing."""

from ptst_pl.model.sharding.blocks import ActivationCheckpointing, checkpoint_activations, decoder_blocks
from ptst_pl.model.sharding.clipping import clip_to_norm, clip_to_value, gradient_norm, gradients
from ptst_pl.model.sharding.fsdp import computing_type, gathered, in_root, is_sharded, shard, whole_state
from ptst_pl.model.sharding.room import check_room

__all__ = [
    "ActivationCheckpointing",
    "check_room",
    "checkpoint_activations",
    "clip_to_norm",
    "clip_to_value",
    "computing_type",
    "decoder_blocks",
    "gathered",
    "gradient_norm",
    "gradients",
    "in_root",
    "is_sharded",
    "shard",
    "whole_state",
]
