"""The walk that `segrt demo` takes: bundled U-Net, bundled images, nothing to download."""
