# M2H on DINOv2 ViT-L/14, all 405 M parameters trained, in shares: tools/dist_train.sh CONFIG PROCESSES.
_base_ = ['../ablations/backbone_trained_vitl_nyud.py', '../_base_/fsdp.py']
