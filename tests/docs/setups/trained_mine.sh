# shellcheck shell=bash
# exps/mine, made from the template and trained on a data set of own videos
. tests/docs/setups/finetune.sh
cp -r exps/template/tsm_resnet50 exps/mine
exps/mine/train.sh local 1
