"""The configuration files of wan-mini: model_index.json, transformer, text encoder, VAE and scheduler."""
import json
from pathlib import Path
import captions, tokenizer

DIM, HEADS, HEAD, FFN, LAYERS, TEXT, TOKENS, ZC = 256, 4, 64, 1024, 8, 256, 64, 16
TEXT_LAYERS, TEXT_FF = 2, 512
STEPS, CFG, CFG_PART, SHIFT = 24, 3.5, .6, 3.
VERSION, SIZE, FRAMES = 'v1', 320, 49
DECODER = dict(widths=[96, 64, 32, 24], memblocks=[3, 3, 2], upsample=[True, True, False], time=[1, 2, 2], patch=2)

TRANSFORMER = dict(_class_name='WanTransformer3DModel', _diffusers_version='0.40.0', added_kv_proj_dim=None, attention_head_dim=HEAD, cross_attn_norm=True, eps=1e-6,
                   ffn_dim=FFN, freq_dim=256, image_dim=None, in_channels=ZC, num_attention_heads=HEADS, num_layers=LAYERS, out_channels=ZC, patch_size=[1, 2, 2],
                   pos_embed_seq_len=None, qk_norm='rms_norm_across_heads', rope_max_seq_len=1024, text_dim=TEXT)
TEXT_ENCODER = dict(architectures=['UMT5EncoderModel'], model_type='umt5', vocab_size=tokenizer.SIZE, d_model=TEXT, d_kv=64, d_ff=TEXT_FF, num_layers=TEXT_LAYERS,
                    num_decoder_layers=TEXT_LAYERS, num_heads=4, relative_attention_num_buckets=32, relative_attention_max_distance=128, dropout_rate=0.0,
                    classifier_dropout=0.0, layer_norm_epsilon=1e-6, initializer_factor=1.0, feed_forward_proj='gated-gelu', dense_act_fn='gelu_new', is_gated_act=True,
                    is_encoder_decoder=True, use_cache=False, tie_word_embeddings=False, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
                    tokenizer_class='T5Tokenizer', torch_dtype='float16')
SCHEDULER = dict(_class_name='UniPCMultistepScheduler', _diffusers_version='0.40.0', beta_end=.02, beta_schedule='linear', beta_start=.0001, disable_corrector=[],
                 dynamic_thresholding_ratio=.995, final_sigmas_type='zero', flow_shift=SHIFT, lower_order_final=True, num_train_timesteps=1000, predict_x0=True,
                 prediction_type='flow_prediction', rescale_betas_zero_snr=False, sample_max_value=1.0, solver_order=2, solver_p=None, solver_type='bh2', steps_offset=0,
                 thresholding=False, timestep_spacing='linspace', trained_betas=None, use_beta_sigmas=False, use_exponential_sigmas=False, use_flow_sigmas=True,
                 use_karras_sigmas=False)


def decoder_layers():
    """[(kind, arguments)] of the decoder, one entry per Sequential index."""
    w, out = DECODER['widths'], [('Clamp', {}), ('Conv2d', dict(cin=ZC, cout=DECODER['widths'][0], bias=True)), ('ReLU', {})]
    for i, (blocks, up, stride) in enumerate(zip(DECODER['memblocks'], DECODER['upsample'], DECODER['time'])):
        out += [('MemBlock', dict(n=w[i]))] * blocks + ([('Upsample', {})] if up else [])
        out += [('TGrow', dict(n=w[i], stride=stride)), ('Conv2d', dict(cin=w[i], cout=w[i + 1], bias=False))]
    return out + [('ReLU', {}), ('Conv2d', dict(cin=w[-1], cout=3 * DECODER['patch'] ** 2, bias=True)), ('PixelShuffle', dict(factor=DECODER['patch']))]


def vae(mean=None, std=None):
    return dict(_class_name='AutoencoderTinyWan', z_dim=ZC, scale_factor_spatial=8, scale_factor_temporal=4, out_channels=3, patch_size=DECODER['patch'],
                decoder_widths=DECODER['widths'], decoder_upsample=DECODER['upsample'], decoder_time=DECODER['time'], memblocks=DECODER['memblocks'], trim_frames=3,
                output_range=[0, 1], layers=[k for k, _ in decoder_layers()], latents_mean=list(mean if mean is not None else [0.] * ZC),
                latents_std=list(std if std is not None else [1.] * ZC))


def model_index(version=VERSION):
    extra = dict(height=SIZE, width=SIZE, num_frames=FRAMES, num_inference_steps=STEPS, guidance_scale=CFG, guidance_interval=[0, CFG_PART], max_sequence_length=TOKENS, fps=12,
                 version=version, vocabulary=captions.vocabulary())
    return dict(_class_name='WanPipeline', _diffusers_version='0.40.0', boundary_ratio=None, expand_timesteps=False, scheduler=['diffusers', 'UniPCMultistepScheduler'],
                text_encoder=['transformers', 'UMT5EncoderModel'], tokenizer=['transformers', 'T5TokenizerFast'], transformer=['diffusers', 'WanTransformer3DModel'],
                transformer_2=[None, None], vae=['zoetrope', 'AutoencoderTinyWan'], zoetrope=extra)


def write(folder, mean=None, std=None, version=VERSION):
    folder = Path(folder)
    files = {'model_index.json': model_index(version), 'transformer/config.json': TRANSFORMER, 'text_encoder/config.json': TEXT_ENCODER,
             'vae/config.json': vae(mean, std), 'scheduler/scheduler_config.json': SCHEDULER}
    for name, value in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + '\n')
    tokenizer.write(folder / 'tokenizer')
