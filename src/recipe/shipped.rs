//! The recipes that come with dlpack, by name: to build as they are, or to extend.

/// Their names and what they say, the one that others extend first.
const SHIPPED: [(&str, &str); 5] = [
    ("base", include_str!("../../recipes/base.toml")),
    ("torch", include_str!("../../recipes/torch.toml")),
    ("rapids", include_str!("../../recipes/rapids.toml")),
    ("ngc-pytorch", include_str!("../../recipes/ngc-pytorch.toml")),
    ("quickstart", include_str!("../../recipes/quickstart.toml")),
];

/// What the shipped recipe of this name says.
pub fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

/// The names of the shipped recipes.
pub fn shipped_names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}
