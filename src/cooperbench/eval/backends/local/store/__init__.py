"""Images from elsewhere: registries, saved archives, directories, Dockerfiles. `images.ImageStore` keeps them.

`reference` reads names; `imageconfig` and `manifests` read what images say of themselves; `streams` undoes compression;
`layers` makes a layer of a stream; `incoming` is an image on its way in, and puts it into the store. Where images come
from: `saved` and `rootfs` (by `importing`), `registry` with `transport` and `credentials` (by `pulling`, which tells
its `progress`), `dockerfile` and `copying` (by `dockerbuild`). `provision` decides what a name stands for; `claims`
says what is in use, `gc` removes what is not.
"""
