# What nix/ in `root` makes of each profile in the JSON file `input`, for every boot entry.
#
# input: { root; version; keysPath; profiles = [ profile ]; }
# result: [ { problems = [ sentence ]; entries.NAME = settings of nix/render.nix; } ]
{ input }:
let
  given = builtins.fromJSON (builtins.readFile input);
  profile = import (given.root + "/nix/profile.nix");
  render = import (given.root + "/nix/render.nix");
  support = import (given.root + "/nix/support.nix");

  rendered = data:
    let
      resolved = profile.resolve data;
      names = [ "default" ] ++ map (variant: variant.name) resolved.values.variant;
      settings = name: render {
        values = profile.entry resolved.values name;
        inherit (given) version keysPath;
      };
      entries = builtins.listToAttrs (map (name: { inherit name; value = settings name; }) names);
    in
    if resolved.problems != [ ] then { inherit (resolved) problems; unsupported = [ ]; entries = { }; }
    else {
      problems = builtins.concatMap (name: entries.${name}.problems) names
        ++ support.mistakes resolved.values;
      unsupported = support.unsupported resolved.values;
      inherit entries;
    };
in
map rendered given.profiles
