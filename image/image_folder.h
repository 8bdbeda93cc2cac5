// A directory of directories, as torchvision's ImageFolder has it: the classes are the folders by
// ascending name, and a picture is any file below one of them that is named as a picture.
#pragma once

#include <filesystem>
#include <memory>

#include "image/image_source.h"

namespace mnm {

// Pictures are in torchvision's order: class by class, folder by folder, by ascending name. Links
// to files are followed; links to directories are not, except those that are classes. Error if the
// directory has no folder.
std::unique_ptr<ImageSource> open_image_folder(const std::filesystem::path& root);

// Whether a file of this name is taken for a picture: .jpg, .jpeg, .png, and those of formats that
// torchvision reads and this program does not, so that no picture is left out in silence.
bool is_image_name(const std::filesystem::path& name);

}  // namespace mnm
