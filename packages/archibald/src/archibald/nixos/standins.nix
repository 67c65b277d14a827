# What flake.nix has from nixpkgs, musnix and disko, without them: the module system of lib.nix, and a
# stand-in for each package of the reviewed list.
#
# attributes: [ name ]. standIn: from the name of a package to what takes its place.
# result: { pkgs; evaluated = modules: ...; inputs; }
{ attributes
, standIn ? attribute: {
    type = "derivation";
    name = attribute;
    inherit attribute;
    outPath = "/nix/store/stand-in/${attribute}";
  }
}:
let
  inherit (builtins) head mapAttrs tail;
  lib = import ./lib.nix;

  made = builder: name: content: standIn "${builder}:${name}" // { inherit content; };

  # "a.b" → { a.b = stand-in; } for the whole list.
  nested = names:
    let
      split = map (name: { path = lib.splitString "." name; inherit name; }) names;
      tree = leaves:
        let groups = builtins.groupBy (leaf: head leaf.path) leaves;
        in mapAttrs
          (_: group:
            if builtins.tail (head group).path == [ ] then standIn (head group).name
            else tree (map (leaf: leaf // { path = tail leaf.path; }) group))
          groups;
    in
    tree split;

  python = {
    buildPythonApplication = recipe: standIn recipe.pname // { inherit recipe; };
    buildPythonPackage = recipe: standIn recipe.pname // { inherit recipe; };
    fetchPypi = recipe: standIn "${recipe.pname}-${recipe.version}.tar.gz" // { content = recipe; };
  };

  reviewed = nested attributes;

  extended = packages: packages // {
    extend = overlay: extended (packages // overlay packages packages);
  };

  pkgs = extended (reviewed // {
    inherit lib;
    python3Packages = (reviewed.python3Packages or { }) // python;
    writeText = name: text: made "writeText" name text;
    writeTextDir = path: text: made "writeTextDir" path text;
    runCommand = name: environment: script: made "runCommand" name { inherit environment script; };
    formats.json = _: {
      type = lib.types.attrsOf lib.types.anything;
      generate = name: value: made "json" name value;
    };
    mkShell = recipe: standIn "shell" // { inherit recipe; };
  });

  # Packages are those of the overlays that the modules define.
  evaluated = modules:
    let
      overlays = builtins.concatMap (one: one.value) (result.definitionsOf [ "nixpkgs" "overlays" ]);
      result = lib.evalModules {
        inherit modules;
        arguments = {
          pkgs = builtins.foldl' (below: overlay: below.extend overlay) pkgs overlays;
          modulesPath = "/nixpkgs-modules";
          options = { };
        };
      };
    in
    result;

  inputs = {
    nixpkgs = {
      legacyPackages.x86_64-linux = pkgs;
      lib.nixosSystem = { system, modules }:
        let result = evaluated modules;
        in {
          inherit result system;
          config = result.config // {
            system.build = builtins.listToAttrs (map (name: { inherit name; value = standIn "system.build.${name}"; })
              [ "toplevel" "isoImage" "vm" ]);
          };
        };
    };
    # Functions, as the real ones are: imported twice, they would declare their options twice.
    musnix.nixosModules.musnix = declaring "musnix";
    disko.nixosModules.disko = declaring "disko";
  };

  declaring = name: { lib, ... }: {
    options.${name}.standIn = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = "Whether this is a stand-in.";
    };
  };
in
{
  inherit evaluated inputs pkgs;
}
