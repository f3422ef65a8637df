"""From a bundle and images to masks on the images' own grids."""
