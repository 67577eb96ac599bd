"""The engine: the extension module ``_lib`` and the executables in ``bin``.

Nothing here is a public interface; the packages ``terok_executor``, ``terok_sandbox`` and ``terok_util`` are.
"""
