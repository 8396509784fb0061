"""Image crops to feature maps, with the input scaling inside and centred cells."""
