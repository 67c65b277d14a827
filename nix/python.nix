# The Python packages of this tree, with what nixpkgs calls their dependencies; a check compares the
# names with each pyproject.toml.
{ lib, python3Packages }:
let
  inherit (python3Packages) buildPythonApplication buildPythonPackage;

  project = folder: (builtins.fromTOML (builtins.readFile (folder + "/pyproject.toml"))).project;

  application = folder: dependencies: extra:
    let this = project folder;
    in buildPythonApplication ({
      pname = this.name;
      inherit (this) version;
      pyproject = true;
      src = folder;
      build-system = [ python3Packages.hatchling ];
      inherit dependencies;
      pythonImportsCheck = [ this.name ];
      meta = {
        inherit (this) description;
        license = if this.license == "MIT" then lib.licenses.mit else lib.licenses.lgpl3Plus;
        platforms = [ "x86_64-linux" ];
      } // (if this ? scripts then { mainProgram = this.name; } else { });
    } // extra);
in
rec {
  # Not in nixpkgs. Version and hash are those of requirements.lock.
  pyfastcdc = buildPythonPackage rec {
    pname = "pyfastcdc";
    version = "0.3.1";
    pyproject = true;
    src = python3Packages.fetchPypi {
      inherit pname version;
      sha256 = "4d4bcc0b07a48f3f31221b5b863e1ac5ad27d6cb50891f6ed7e8af2fc666b091";
    };
    build-system = [ python3Packages.setuptools python3Packages.cython ];
    dependencies = [ ];
    pythonImportsCheck = [ "pyfastcdc" ];
  };

  streamdb = application ../packages/streamdb [
    python3Packages.blake3
    python3Packages.click
    python3Packages.crc32c
    python3Packages.cryptography
    python3Packages.lmdb
    python3Packages.mutagen
    pyfastcdc
    python3Packages.rich
    python3Packages.soundfile
    python3Packages.zstandard
  ] { };

  hydramesh = application ../packages/hydramesh [ ] { };

  archibald = application ../packages/archibald [
    python3Packages.click
    python3Packages.pydantic
    python3Packages.rich
    python3Packages.textual
  ] { optional-dependencies.host = [ python3Packages.numpy ]; };
}
