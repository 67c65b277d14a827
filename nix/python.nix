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
  # Not in nixpkgs. Version and hash of this one and the next are those of requirements.lock.
  pyfastcdc = buildPythonPackage rec {
    pname = "pyfastcdc";
    version = "0.3.1";
    pyproject = true;
    src = python3Packages.fetchPypi {
      inherit pname version;
      sha256 = "4d4bcc0b07a48f3f31221b5b863e1ac5ad27d6cb50891f6ed7e8af2fc666b091";
    };
    build-system = [ python3Packages.setuptools python3Packages.cython ];
    dependencies = [ python3Packages.typing-extensions ];
    # Without it a compiler's error gives a package without compiled code, which is slow.
    env.PYFASTCDC_REQUIRE_CYTHON = "1";
    pythonImportsCheck = [ "pyfastcdc" ];
  };

  # nixpkgs has an older one, for its own LMDB; this one brings LMDB along, patched.
  lmdb = buildPythonPackage rec {
    pname = "lmdb";
    version = "3.0.0";
    pyproject = true;
    src = python3Packages.fetchPypi {
      inherit pname version;
      sha256 = "06dda0723545e14d56ac7dcd6f582d9922c2ed5e16f1c3f8d0e670a96ec2ee65";
    };
    build-system = [ python3Packages.setuptools python3Packages.cffi python3Packages.patch-ng ];
    dependencies = [ ];
    pythonImportsCheck = [ "lmdb" ];
  };

  streamdb = application ../packages/streamdb [
    python3Packages.blake3
    python3Packages.click
    python3Packages.crc32c
    python3Packages.cryptography
    lmdb
    python3Packages.mutagen
    python3Packages.orjson
    pyfastcdc
    python3Packages.rich
    python3Packages.soundfile
    python3Packages.zstandard
  ] { };

  hydramesh = application ../packages/hydramesh [
    python3Packages.blake3
    python3Packages.click
    python3Packages.cryptography
    python3Packages.grpcio
    python3Packages.msgpack
    python3Packages.protobuf
    python3Packages.rich
    python3Packages.segno
    streamdb
    python3Packages.zenoh
  ] { };

  archibald = application ../packages/archibald [
    python3Packages.click
    python3Packages.pydantic
    python3Packages.rich
    python3Packages.textual
  ] { optional-dependencies.host = [ python3Packages.numpy ]; };
}
