"""Agents: their values, commands, instructions, shell functions and private configuration."""
