# Evaluates flake.nix and the modules of `root` without nixpkgs, with what standins.nix has in its
# place. Nothing is fetched or built.
#
# input: { root; attributes = [ name ]; systems = [ { modules; profile; config; } ]; flake = bool; }
{ input }:
let
  inherit (builtins)
    attrNames elem elemAt filter fromJSON head isAttrs isFunction isList isPath listToAttrs map
    mapAttrs readFile tail toString;

  given = fromJSON (readFile input);
  lib = import ./lib.nix;

  standIns = import ./standins.nix { inherit (given) attributes; };
  inherit (standIns) evaluated inputs pkgs;

  # As JSON: functions and packages by what they are, paths without copying them.
  shown = value:
    if isFunction value then { function = true; }
    else if isPath value then { path = toString value; }
    else if isList value then map shown value
    else if isAttrs value then
      if lib.isPackage value then { package = value.attribute; }
        // (if value ? content then { content = shown value.content; } else { })
      else mapAttrs (_: shown) value
    else value;

  report = system: {
    definitions = map (d: { inherit (d) path priority; value = shown d.value; }) system.definitions;
    undeclared = map (d: d.path) system.undeclared;
    declared = map (one: { inherit (one) path; type = one.option.type.name; described = one.option ? description; }) system.declared;
    values = shown system.config.archibald.values;
  };

  # --- modules by name --------------------------------------------------------------------------

  profileOf = one: if isAttrs one.profile then one.profile else /. + one.profile;

  overlay = final: _: import (/. + "${given.root}/nix/python.nix") {
    inherit lib;
    inherit (final) python3Packages;
  };

  systemOf = one: report (evaluated (
    map (name: /. + "${given.root}/nix/${name}.nix") one.modules
    ++ [ { archibald.profile = profileOf one; nixpkgs.overlays = [ overlay ]; } one.config ]
  ));

  # --- the flake --------------------------------------------------------------------------------

  flake = import (/. + "${given.root}/flake.nix");

  self = outputs // { inherit outputs; };
  outputs = flake.outputs (inputs // { inherit self; });

  flakeReport = {
    inputs = mapAttrs (_: one: one.url) flake.inputs;
    follows = mapAttrs (_: one: mapAttrs (_: inner: inner.follows or "") (one.inputs or { })) flake.inputs;
    outputs = attrNames outputs;
    modules = mapAttrs (_: module: report (evaluated [ module ])) outputs.nixosModules;
    # Whoever imports several gets each once.
    together = report (evaluated (builtins.attrValues outputs.nixosModules));
    systems = mapAttrs (_: one: report one.result) outputs.nixosConfigurations;
    packages = shown outputs.packages.x86_64-linux;
    checks = shown outputs.checks.x86_64-linux;
    shells = shown outputs.devShells.x86_64-linux;
    formatter = shown outputs.formatter.x86_64-linux;
    overlay = attrNames (outputs.overlays.default pkgs pkgs);
    recipes = mapAttrs
      (_: package: shown {
        inherit (package.recipe) pname version;
        dependencies = map (one: one.attribute) package.recipe.dependencies;
        buildSystem = map (one: one.attribute) package.recipe.build-system;
        optional = mapAttrs (_: map (one: one.attribute)) (package.recipe.optional-dependencies or { });
        source = package.recipe.src;
      })
      (import (given.root + "/nix/python.nix") { inherit lib; inherit (pkgs) python3Packages; });
  };
in
{
  systems = map systemOf given.systems;
  packageNames = import (/. + "${given.root}/nix/packages.nix");
} // (if given.flake then { flake = flakeReport; } else { })
