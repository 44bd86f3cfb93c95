"""Tasks about Python programs: predict the output, find an input, write the program, name the error."""

from tasks.python_code.pack import PythonCodePack

__all__ = ["PythonCodePack"]
