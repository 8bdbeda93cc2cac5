"""Compensated classifiers of images and their submodels against transformers, in double precision.

usage: image_compensation_check.py ROOT

Every folder of ROOT is a case as compensation_check.py has it, with `images`, a set of normalised
images. Exits with 1 if any disagrees.
"""

from cases import judge
from compensation_check import trouble_with
from image_neurons_check import images_of, read_of
from transformers import AutoModelForImageClassification

if __name__ == "__main__":
    judge(
        lambda case: trouble_with(
            case, AutoModelForImageClassification, images_of(case), read_of
        )
    )
