const Bat = () => <div>late</div>;
