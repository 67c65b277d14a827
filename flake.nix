{
  description = "ArchibaldOS: a real-time audio system from one declarative profile";

  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
    musnix.url = "github:musnix/musnix";
    musnix.inputs.nixpkgs.follows = "nixpkgs";
    disko.url = "github:nix-community/disko";
    disko.inputs.nixpkgs.follows = "nixpkgs";
  };

  outputs = { self, nixpkgs, musnix, disko }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system}.extend self.overlays.default;

      # A module with a key is taken once, however many of ours are imported: musnix and disko are
      # functions, and would declare their options twice.
      once = name: module: { key = "archibald-${name}"; imports = [ module ]; };
      packages = once "packages" { nixpkgs.overlays = [ self.overlays.default ]; };

      module = path: { imports = [ packages path ]; };

      everything = {
        imports = [
          self.nixosModules.audio
          self.nixosModules.desktop
          self.nixosModules.users
          self.nixosModules.hydramesh
          self.nixosModules.branding
          ./nix/base.nix
        ];
      };

      machine = modules: nixpkgs.lib.nixosSystem {
        inherit system;
        modules = [ self.nixosModules.default { archibald.profile = ./archibald.toml; } ] ++ modules;
      };
    in
    {
      overlays.default = final: prev: {
        inherit (import ./nix/python.nix { inherit (final) lib python3Packages; })
          archibald hydramesh streamdb;
      };

      nixosModules = {
        default = everything;
        audio = { imports = [ packages (once "musnix" musnix.nixosModules.musnix) ./nix/audio.nix ]; };
        base = module ./nix/base.nix;
        desktop = module ./nix/desktop.nix;
        users = module ./nix/users.nix;
        hydramesh = module ./nix/hydramesh.nix;
        branding = module ./nix/branding.nix;
        disk = { imports = [ packages (once "disko" disko.nixosModules.disko) ./nix/disk.nix ]; };
        installer = module ./nix/installer.nix;
      };

      nixosConfigurations = {
        # The system of archibald.toml on the first disk of a virtual machine; name your own disk.
        archibaldOS = machine [
          self.nixosModules.disk
          { archibald.disk.device = "/dev/vda"; system.stateVersion = "26.05"; }
        ];

        # The same as a live system, without a disk of its own.
        installer = machine [
          self.nixosModules.installer
          { system.stateVersion = "26.05"; }
        ];
      };

      packages.${system} = {
        inherit (pkgs) archibald hydramesh streamdb;
        default = pkgs.archibald;
        installer = self.nixosConfigurations.installer.config.system.build.isoImage;
        vm = self.nixosConfigurations.archibaldOS.config.system.build.vm;
      };

      devShells.${system}.default = pkgs.mkShell {
        inputsFrom = [ pkgs.archibald pkgs.hydramesh pkgs.streamdb ];
        packages = [ pkgs.gnumake pkgs.shellcheck pkgs.nixfmt ];
      };

      checks.${system} = {
        inherit (pkgs) archibald hydramesh streamdb;
        system = self.nixosConfigurations.archibaldOS.config.system.build.toplevel;
      };

      formatter.${system} = pkgs.nixfmt-tree;
    };
}
