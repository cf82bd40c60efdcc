"""From whatever the caller has to the form that the rewriter works on.

``pass_list.py`` lists the steps. ``reading/`` reads and checks what a file holds, ``passes/`` gives it the form
that rules take, ``shapes/`` infers types and shapes, ``rows/`` tells whether samples are computed apart.
``prepared.py`` cuts a loaded model at what is explained; the other modules here find things in it.
"""
