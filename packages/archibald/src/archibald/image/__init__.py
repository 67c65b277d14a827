"""From a SystemSpec and a lock to files: squashfs layers, ISO, disk, manifest, SBOM."""
