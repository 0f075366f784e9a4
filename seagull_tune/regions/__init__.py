"""Regions of interest: boxes, masks, label maps, COCO run-length encoding, and every notation of the command line."""
