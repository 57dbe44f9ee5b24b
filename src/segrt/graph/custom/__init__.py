"""Custom operations of SegRT's own: upsampling, for engines that are to get it as a plugin."""
