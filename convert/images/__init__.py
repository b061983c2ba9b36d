"""Container images and folders as sources and as bases.

===================================  =======================================================
``oci:DIR[:TAG]``                    image layout in a folder
``oci-archive:FILE[:TAG]``           image layout in a tar file
``docker-archive:FILE[:NAME:TAG]``   what ``docker save`` writes
``docker://HOST/NAME[:TAG|@DIGEST]`` image in a registry
``dir:PATH``, a folder's path        files of this machine
===================================  =======================================================

:func:`convert.images.opening.open_image` gives an image, :func:`convert.images.folder.open_folder`
a folder. Both have a :class:`~formats.core.tree.Tree`.
"""
