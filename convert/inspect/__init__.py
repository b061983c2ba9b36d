"""What a guest's tree says of itself: facts, each with its evidence, and what to start from them.

Nothing of the guest is run. :func:`convert.inspect.tree.inspect_tree` reads, and
:func:`convert.inspect.entrypoint.decide_entrypoint` chooses.
"""
