# What a profile asks that this base does not do, as sentences; the modules make them assertions.
# Builtins only. No key is silently ignored: each is used by a module or looked at here.
let
  inherit (builtins) attrNames concatMap concatStringsSep elem filter listToAttrs toJSON;
  model = (import ./profile.nix).model;
  names = import ./packages.nix;

  optional = condition: value: if condition then [ value ] else [ ];

  chosen = apps: concatMap (group: model.groups.${group}) apps.groups;

  # Where a profile names Debian packages: key → names.
  packagesOf = values: {
    "apps.packages" = values.apps.packages;
    "image.packages" = values.image.packages;
  } // (if !values.desktop.enable then { } else {
    "desktop.terminal" = [ values.desktop.terminal ];
    "desktop.launcher" = [ values.desktop.launcher ];
    "desktop.file_manager" = filter (name: name != "") [ values.desktop.file_manager ];
    "desktop.browser" = filter (name: name != "") [ values.desktop.browser ];
    "desktop.editor" = filter (name: name != "") [ values.desktop.editor ];
  });
in
rec {
  # Debian names of the applications that a profile wants: groups without exclusions, and others.
  applications = values:
    filter (name: !(elem name values.apps.exclude)) (chosen values.apps) ++ values.apps.packages;

  # Debian names of everything that is named in a profile, programs of the desktop included.
  wanted = values: applications values ++ concatMap (key: (packagesOf values).${key})
    (filter (key: key != "apps.packages") (attrNames (packagesOf values)));

  # The nixpkgs attribute of a Debian package, dotted; null when nobody has looked it up.
  attribute = name: names.${name} or null;

  # sc3-plugins stands for a SuperCollider with them; the plain one would be in its way.
  withoutDoubles = list:
    if elem "sc3-plugins" list then filter (name: name != "supercollider") list else list;

  # Without a desktop systemd-networkd does it.
  networkManager = values: values.desktop.enable && values.system.network != "off";

  # Boot entries beside the default one: name → title in the boot menu.
  bootTitles = values:
    let inherit (values) image system;
    in
    listToAttrs (map (variant: { inherit (variant) name; value = variant.title; }) values.variant)
    // (if image.generic_kernel && system.kernel == "rt" then { generic = "Ordinary kernel"; } else { })
    // (if image.serial_console then { serial = "Serial console"; } else { });

  # Mistakes in a profile that both bases refuse.
  mistakes = values:
    concatMap
      (name:
        optional (elem name values.apps.packages)
          "apps.packages asks for ${name} and apps.exclude leaves it out"
        ++ optional (!(elem name (chosen values.apps)))
          "apps.exclude names ${name}, which no chosen group installs")
      values.apps.exclude;

  # What NixOS cannot do for a profile that is right. `known` are Debian names that the
  # configuration itself has mapped to packages (archibald.packageNames).
  unsupportedWith = known: values:
    let
      inherit (values) image system;
      unknown = key: filter (name: attribute name == null && !(elem name known)) (packagesOf values).${key};
      noted = key: map
        (name: "${key} names the Debian package ${name}, whose name in nixpkgs is not known here: "
          + "set archibald.packageNames.${toJSON name} to a package, or leave it out")
        (unknown key);
      strange = filter (part: !(elem part [ "main" "non-free" "non-free-firmware" ])) image.components;
    in
    concatMap noted (attrNames (packagesOf values))
    ++ optional (system.suite != model.tables.system.suite.default)
      ("system.suite asks for Debian ${system.suite}; on NixOS packages come from nixpkgs: leave the "
        + "option out, and choose a nixpkgs in the flake's inputs")
    ++ optional (image.mirror != "")
      "image.mirror names a Debian mirror; NixOS takes nothing from one: leave the option out"
    ++ optional (strange != [ ])
      ("image.components asks for ${concatStringsSep ", " strange}, which nixpkgs does not have; it "
        + "knows main, non-free and non-free-firmware")
    ++ optional (!(elem "main" image.components))
      "image.components leaves out main, and nixpkgs has no part that could stand without it"
    ++ concatMap
      (variant: optional (elem variant.name [ "generic" "serial" ])
        "the variant ${variant.name} has the name of a boot entry that this base adds: rename it")
      values.variant;

  unsupported = unsupportedWith [ ];
}
