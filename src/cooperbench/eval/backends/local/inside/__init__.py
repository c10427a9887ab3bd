"""The part of the embedded sandbox that runs outside the harness: in the zygote and, as PID 1, in every sandbox.

It is started with ``python -I -S`` and this directory's parent on the path, so it may import nothing but the standard
library and itself, by relative imports. Everything it needs is imported before the first namespace is entered: from
then on the interpreter's own files may be out of reach.
"""
