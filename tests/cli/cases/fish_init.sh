# needs: fmpatch-fish
# A new model is what its config.json says, or an error says what is wrong with that.
try() {
    echo "$1" >config.json
    t fmpatch fish init config.json out -f
}
try '{"model_type": "mlp", "sizes": [4, 3, 2]}'
fmpatch fish init config.json out -f --json
cat out/config.json
try '{"model_type": "mlp", "hidden": [8], "image_size": [4, 2], "num_labels": 3, "activation": "gelu"}'
fmpatch fish init config.json out -f --json
t fmpatch fish init config.json out
t fmpatch fish init none.json new
t fmpatch fish init config.json none/new
try '{"model_type": "mlp", "sizes": [4, 3, 2]'
try '[]'
try '{}'
try '{"model_type": "gpt"}'
try '{"model_type": "mlp"}'
try '{"model_type": "mlp", "sizes": [4]}'
try '{"model_type": "mlp", "sizes": [4, 0]}'
try '{"model_type": "mlp", "sizes": [4, 2], "activation": "tanh"}'
try '{"model_type": "bert", "hidden_size": 10, "num_attention_heads": 3}'
try '{"model_type": "bert", "hidden_act": "silu"}'
try '{"model_type": "bert", "vocab_size": 1e9}'
ls
