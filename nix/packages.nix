# Debian package → attribute of nixpkgs, dotted. Where a program has no package of its own in
# nixpkgs, the name says where it is. docs/how-to/nixos.md lists the substitutes.
{
  alacritty = "alacritty";
  ardour = "ardour";
  audacity = "audacity";
  bespokesynth = "bespokesynth";
  calf-plugins = "calf";
  carla = "carla";
  cava = "cava";
  csound = "csound";
  dragonfly-reverb = "dragonfly-reverb";
  drumgizmo = "drumgizmo";
  drumkv1 = "drumkv1";
  faust = "faust";
  firefox-esr = "firefox-esr";
  fluidsynth = "fluidsynth";
  foot = "foot";
  fuzzel = "fuzzel";
  geany = "geany";
  guitarix = "guitarix";
  htop = "htop";
  hydrogen = "hydrogen";
  jack-example-tools = "jack-example-tools";
  jacktrip = "jacktrip";
  jalv = "jalv";
  kitty = "kitty";
  lsp-plugins-lv2 = "lsp-plugins";
  mixxx = "mixxx";
  mousepad = "mousepad";
  muse = "muse";
  musescore3 = "musescore";
  nano = "nano";
  nautilus = "nautilus";
  pavucontrol = "pavucontrol";
  pcmanfm = "pcmanfm";
  # The same visuals for every sound server; nixpkgs has only the SDL program.
  projectm-pulseaudio = "projectm-sdl-cpp";
  projectm-sdl = "projectm-sdl-cpp";
  puredata = "puredata";
  qjackctl = "qjackctl";
  qmidinet = "qmidinet";
  qpwgraph = "qpwgraph";
  qtractor = "qtractor";
  raysession = "raysession";
  rofi = "rofi";
  rosegarden = "rosegarden";
  rt-tests = "rt-tests";
  samplv1 = "samplv1";
  # SuperCollider itself with these plug-ins: it finds none that are only installed beside it.
  sc3-plugins = "supercollider-with-sc3-plugins";
  setbfree = "setbfree";
  sonic-pi = "sonic-pi";
  sooperlooper = "sooperlooper";
  supercollider = "supercollider";
  synthv1 = "synthv1";
  thunar = "thunar";
  # Another soundfont: nixpkgs has no TimGM6mb.
  timgm6mb-soundfont = "soundfont-generaluser";
  tmux = "tmux";
  vmpk = "vmpk";
  wofi = "wofi";
  x42-plugins = "x42-plugins";
  yoshimi = "yoshimi";
  zam-plugins = "zam-plugins";
  zynaddsubfx = "zynaddsubfx";
}
