"""Images from elsewhere: registries, saved archives, directories. What they become is `images.ImageStore`'s.

`reference` reads names; `imageconfig` reads an image's own configuration; `streams` undoes compression; `layers` makes
a layer of a stream; `incoming` is an image on its way in, and puts it into the store. Where images come from:
`layouts` and `tarfiles` (saved images), `rootfs` (a directory), `registry` and what it is made of. `claims` says what
is in use, `gc` removes what is not.
"""
