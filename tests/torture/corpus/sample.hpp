preface

# Bats

fly

# Owls

hunt
