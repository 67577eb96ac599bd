"""The one place where the executor meets the layers below it."""
