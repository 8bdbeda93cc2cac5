// A directory of directories, as torchvision's ImageFolder has it: the classes are the folders by
// ascending name, and a picture is any file below one of them that is named as a picture.
#pragma once

#include <filesystem>
#include <memory>

#include "image/image_source.h"

namespace mnm {

// Pictures are in torchvision's order: class by class, folder by folder, by ascending name. Links
// are followed. What is named as a picture and cannot be read, such as a link that leads nowhere,
// is listed too, so that it is found to be broken. Error if the directory has no folder, if a
// folder cannot be listed, if one is reached in two ways, and if another link leads nowhere.
std::unique_ptr<ImageSource> open_image_folder(const std::filesystem::path& root);

// Whether a file of this name is taken for a picture: .jpg, .jpeg, .png, and those of formats that
// torchvision reads and this program does not, so that no picture is left out in silence.
bool is_image_name(const std::filesystem::path& name);

}  // namespace mnm
